"""An ellipsis stands for the terms between, and for no others."""

from hypothesis import assume, given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

FIRST, STEP, COUNT = st.integers(-9, 9), st.integers(-7, 7).filter(bool), st.integers(5, 40)


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


def run(first: int, step: int, count: int, shown: int = 2) -> str:
    terms = [str(first + index * step) for index in range(count)]
    return ", ".join([*terms[:shown], r"\ldots", terms[-1]])


@given(first=FIRST, step=STEP, count=COUNT, shown=st.integers(2, 4))
def test_a_run_is_its_terms(first: int, step: int, count: int, shown: int) -> None:
    terms = ", ".join(str(first + index * step) for index in range(count))
    gold = run(first, step, count)
    assert is_right(rf"\{{{run(first, step, count, shown)}\}}", gold)
    assert is_right(run(first + (count - 1) * step, -step, count, shown), gold)
    assert is_right(terms, gold)
    assert is_right(gold, terms)
    assert not is_right(", ".join(terms.split(", ")[:-1]), gold)


@given(first=FIRST, step=STEP, count=COUNT, other=st.tuples(FIRST, STEP, COUNT))
def test_another_run_is_wrong(first: int, step: int, count: int, other: tuple[int, int, int]) -> None:
    assume(other != (first, step, count) and other != (first + (count - 1) * step, -step, count))
    assert not is_right(run(*other), run(first, step, count))


@given(first=FIRST, step=STEP, count=st.integers(100, 5000), shown=st.integers(2, 4))
def test_a_long_run_is_told_by_its_ends(first: int, step: int, count: int, shown: int) -> None:
    gold = run(first, step, count)
    assert is_right(run(first, step, count, shown), gold)
    assert not is_right(run(first, step, count + 1), gold)
    assert not is_right(run(first + 1, step, count), gold)
    assert not is_right(rf"{first}, {first + step}, \ldots", gold)
