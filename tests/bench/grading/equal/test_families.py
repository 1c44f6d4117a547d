"""Constants of an answer may have any names, letters of the problem none but their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

PRIMITIVES = ("2x^3", r"\ln|x|", r"\frac{x^2}{2}", r"\sin x", "e^{x}")
CONSTANTS = ("C", "c", "K", "k", "C_1", "c_0")


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


@given(
    body=st.sampled_from(PRIMITIVES),
    other=st.sampled_from(PRIMITIVES),
    gold=st.sampled_from(CONSTANTS),
    pred=st.sampled_from(CONSTANTS),
)
def test_a_constant_of_integration_has_any_name(body: str, other: str, gold: str, pred: str) -> None:
    assert is_right(f"{other}+{pred}", f"{body}+{gold}") == (body == other)
    assert not is_right(body, f"{body}+{gold}")
    assert not is_right(f"{pred}{body}", f"{body}+{gold}")


@given(names=st.permutations(["A", "B", "c_1", "c_2", "C_3", "K"]))
def test_constants_are_renamed_one_by_one(names: list[str]) -> None:
    first, second = names[:2]
    gold = r"y=C_1\cos x+C_2\sin x"
    assert is_right(rf"y={first}\cos x+{second}\sin x", gold)
    assert not is_right(rf"y={first}\cos x+{first}\sin x", gold)
    assert not is_right(rf"y={first}\cos x+{second}\sin 2x", gold)


@given(bound=st.integers(-3, 3), other=st.integers(-3, 3), sign=st.sampled_from([r"\ge", ">", "<"]))
def test_what_is_said_of_a_constant_must_agree(bound: int, other: int, sign: str) -> None:
    gold = rf"f(x)=x^a+x^{{-a}} \text{{ for some }} a > {bound}"
    assert is_right(rf"f(x)=x^{{b}}+x^{{-b}}, b {sign} {other}", gold) == (sign == ">" and bound == other)
    assert not is_right(r"f(x)=x^{b}+x^{-b}", gold)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2025^2a(a-1)", "2025^2b(b-1)"),
        ("2-2m", "2-2k"),
        (r"\frac{ab}{c}", r"\frac{ab}{C}"),
        ("(n-1)!", "(m-1)!"),
        (r"\frac12CV^2", r"\frac12KV^2"),
        ("0<c<1", "0<k<1"),
        ("a+b+c", "a+b+C"),
    ],
)
def test_letters_of_the_problem_keep_their_names(gold: str, answer: str) -> None:
    assert not is_right(answer, gold)
