"""Words in one spelling: case, spaces and articles go, signs and operators never."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.read.words import NONE, bare, meaning
from tbrm_bench.records import Status

SIGNS = st.sampled_from(["+", "-", "*", "/", "^", "=", "<", ">", "_", "."])
MACROS = [
    *("text", "textnormal", "textrm", "textsf", "texttt", "textup", "textit", "textbf", "textsl", "textmd"),
    *("emph", "mbox", "hbox", "mathrm"),
]


@given(st.integers(1, 99), SIGNS, st.integers(1, 99), SIGNS)
def test_texts_that_differ_in_a_sign_differ(left: int, sign: str, right: int, other: str) -> None:
    texts = [f"All numbers of the form {left}{operator}{right}" for operator in (sign, other)]
    assert (bare(texts[0]) == bare(texts[1])) == (sign == other)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_texts_that_differ_in_a_number_differ(left: int, right: int) -> None:
    assert (bare(f"June {left}") == bare(f"June {right}")) == (left == right)
    assert bare(f"the {left} {right}") != bare(f"the {left}{right}")
    assert bare(f"base {left}") != bare(f"base -{left}")


def test_hyphens_between_words_and_case_say_nothing() -> None:
    for one, other in (
        ("x-axis", "x axis"),
        ("non-empty", "Nonempty"),
        ("the Parabola.", "a parabola"),
        ("y -axis", "Y-axis"),
    ):
        assert bare(one) == bare(other)


def test_phrases_that_say_one_thing_have_one_name() -> None:
    none = [
        "No solutions",
        "There are no solutions.",
        "no real solution",
        "None",
        "no such integers exist",
        "empty set",
    ]
    assert {meaning(rf"\text{{{phrase}}}") for phrase in none} == {NONE}
    assert len(set(map(meaning, ("DNE", "D.N.E.", "does not exist", "The limit does not exist", "undefined")))) == 1
    others = ["two solutions", "exists", "defined", "no integer solutions", "possible", "infinitely many", "not none"]
    assert NONE not in set(map(meaning, others))
    assert len(set(map(meaning, others))) == len(others)


@given(st.sampled_from(["Yes", "No solution", "hyperbola", "Monday", "not possible"]), st.sampled_from(MACROS))
def test_the_face_of_words_says_nothing(words: str, macro: str) -> None:
    for gold in (words, words.lower(), rf"\text{{{words}}}"):
        assert grade(rf"\boxed{{\{macro}{{{words}}}}}", gold).status is Status.CORRECT
        assert grade(rf"\boxed{{\{macro}{{not {words}}}}}", gold).status is not Status.CORRECT
    assert grade(rf"\boxed{{125\{macro}{{ miles}}}}", "125").status is Status.CORRECT


def test_letters_of_a_word_in_another_order_are_another_word() -> None:
    for word in ("DNE", "yes", "odd", "even", "None"):
        assert grade(rf"\boxed{{{word[::-1]}}}", word).status is not Status.CORRECT
