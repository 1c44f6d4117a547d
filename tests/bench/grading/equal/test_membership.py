"""Two descriptions are equal where they have the same members; tried against sets that Python makes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.equal.membership import same_members
from tbrm_bench.grading.read.described import described
from tbrm_bench.records import Status


def equal(gold: str, pred: str) -> bool | None:
    one, other = described(gold), described(pred)
    assert one is not None, gold
    assert other is not None, pred
    return same_members(one, other)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=3), st.lists(st.integers(2, 9), min_size=1, max_size=3))
def test_unions_of_multiples_are_compared_as_sets(left: list[int], right: list[int]) -> None:
    texts = [r"\text{ or }".join(f"n = {step}k" for step in steps) + r",\ k \in \mathbb{Z}" for steps in (left, right)]
    members = [{n for n in range(1, 3000) if any(n % step == 0 for step in steps)} for steps in (left, right)]
    assert equal(*texts) is (members[0] == members[1])


@given(st.integers(2, 12), st.integers(0, 3), st.integers(0, 3))
def test_powers_differ_where_they_begin(base: int, first: int, other: int) -> None:
    assert equal(f"{base}^k, k \\ge {first}", f"{base}^m, m \\ge {other}") is (first == other)


def test_sparse_sets_that_agree_far_out_are_not_the_same() -> None:
    powers = ", ".join(str(2**power) for power in range(11))
    assert equal("all powers of 2", powers) is False
    primes = ", ".join(str(n) for n in range(2, 100) if all(n % d for d in range(2, n)))
    assert equal("all primes", primes) is False


def test_a_gold_without_a_sign_is_of_positive_numbers_or_of_all() -> None:
    for pred in (r"n = 2k+1, k \ge 0", "all odd positive integers", r"n = 2k-1, k \in \mathbb{Z}"):
        assert equal("odd n", pred) is True
    assert equal("all multiples of 14, excluding 0", "positive multiples of 14") is False
    assert equal("all multiples of 14, excluding 0", "nonzero multiples of 14") is True
    assert equal(r"\mathbb{Z}", "all positive integers") is False


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("y = 4x + 3", r"y \equiv 3 \pmod 4"),  # a line
        ("2k + 1", r"\text{all odd numbers}"),  # a value
        ("x > 3", r"\text{all integers } x \ge 4"),  # real numbers
    ],
)
def test_values_and_lines_are_no_sets_of_whole_numbers(gold: str, answer: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold).status is Status.WRONG


def test_large_constants_are_left_undecided() -> None:
    texts = [rf"n \equiv 1 \pmod{{{m}}}" for m in (1999, 1997)]
    assert [equal(a, b) for a, b in itertools.permutations(texts, 2)] == [None, None]
