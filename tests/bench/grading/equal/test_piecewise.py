"""Cases: any order, "otherwise" for what is left, never a value under another condition."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

VALUES = st.lists(st.sampled_from(["0", "1", "x", "x^2", "-x", "2x+1"]), min_size=3, max_size=3, unique=True)
CONDITIONS = ("x<{a}", r"{a}\le x<{b}", r"x\ge {b}")


def is_right(answer: str, gold: str) -> bool:
    return grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


def cases(rows: list[tuple[str, str]], word: str = r"\text{if }") -> str:
    return r"\begin{cases}" + r"\\".join(f"{value}&{word}{condition}" for value, condition in rows) + r"\end{cases}"


@given(values=VALUES, low=st.integers(-9, 9), length=st.integers(1, 9), order=st.permutations(range(3)))
def test_the_order_of_cases_does_not_count_and_their_conditions_do(
    values: list[str], low: int, length: int, order: list[int]
) -> None:
    conditions = [condition.format(a=low, b=low + length) for condition in CONDITIONS]
    rows = list(zip(values, conditions, strict=True))
    gold = cases(rows, "")
    assert is_right(cases([rows[index] for index in order]), gold)
    assert is_right(cases([*rows[1:], (values[0], r"\text{otherwise}")], ""), gold)
    moved = [(values[order[index]], conditions[index]) for index in range(3)]
    assert is_right(cases(moved), gold) == (list(order) == [0, 1, 2])
    assert not is_right(cases(rows[:2]), gold)
    assert not is_right(values[0], gold)


@given(residue=st.integers(0, 6), modulus=st.integers(2, 7), other=st.integers(-7, 7))
def test_conditions_are_compared_as_congruences(residue: int, modulus: int, other: int) -> None:
    gold = cases([("1", rf"n\equiv {residue}\pmod{{{modulus}}}"), ("0", r"\text{otherwise}")], "")
    pred = cases([("0", r"\text{otherwise}"), ("1", rf"n\equiv {other}\pmod{{{modulus}}}")], "")
    assert is_right(pred, gold) == ((residue - other) % modulus == 0)
