"""An answer that offers two values is right for neither, whatever joins them; one value said twice is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

JOINTS = [
    *(r"\approx ", r"\sim ", r"\simeq ", "=", r"\ne ", "<", r"\le ", r"\equiv ", r"\to ", r"\Rightarrow ", r"\iff "),
    *(r"\text{ or }", " or ", ", ", "; ", r"\quad ", r"\qquad ", r"\\ ", "\n", r"\ \ ", r"\text{ and }", r"\mid "),
    *(r"\text{ or possibly }", r"\text{, maybe }", r"\text{ alternatively }", r"\text{ else }", r"\text{ to }", "-"),
    *(r"\text{, not }", r"\vee ", r"\cup ", "->", "=>", r"\leadsto ", r"\text{ i.e. }", r"\text{ / }", r"\text{ vs }"),
]
AROUND = ["{0} (or {1})", "{0} (or possibly {1})", r"{0}\text{{ (maybe {1})}}", "{0} [{1}]", r"{0}\;(\text{{or }}{1})"]
VALUES = st.integers(2, 500)


@pytest.mark.parametrize("joint", JOINTS)
@given(VALUES, VALUES)
def test_two_values_joined_are_right_for_neither(joint: str, first: int, second: int) -> None:
    if first == second or (joint == "-" and first - second in (first, second)):
        return
    for gold in (first, second):
        assert grade(rf"\boxed{{{first}{joint}{second}}}", str(gold)).status is not Status.CORRECT


@pytest.mark.parametrize("form", AROUND)
@given(VALUES, VALUES)
def test_a_second_value_in_brackets_counts(form: str, first: int, second: int) -> None:
    verdicts = [grade(rf"\boxed{{{form.format(first, second)}}}", str(gold)).status for gold in (first, second)]
    if first != second:
        assert Status.CORRECT not in verdicts


@given(VALUES)
def test_one_value_said_twice_is_right(value: int) -> None:
    for again in (
        rf"{value}={value}.0",
        f"{value} (or {value}.0)",
        rf"{value}\text{{ or }}{value}",
        f"{value}, {value}",
    ):
        assert grade(rf"\boxed{{{again}}}", str(value)).status is Status.CORRECT


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_every_side_of_an_equation_in_the_letters_of_the_gold_counts(shift: int, other: int) -> None:
    first, second = f"n{shift:+d}", f"n{other:+d}"
    same = grade(rf"\boxed{{{first}={second}}}", second).status is Status.CORRECT
    assert same == (shift == other)
    assert grade(rf"\boxed{{a_n={second}}}", second).status is Status.CORRECT


@given(st.permutations("ABCDE"))
def test_more_than_one_option_is_none(letters: list[str]) -> None:
    first, second = letters[:2]
    for form in (
        r"\text{{({0})}}\ 1\ \text{{({1})}}\ 2",
        "({0}) 1 ({1}) 2",
        "{0}. 17 {1}. 18",
        "{0} or {1}",
        "({0})({1})",
    ):
        for gold in (first, rf"\text{{({second})}}"):
            assert grade(rf"\boxed{{{form.format(first, second)}}}", gold).status is not Status.CORRECT
