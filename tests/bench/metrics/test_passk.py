"""Laws of pass@k: it counts subsets, it is exact, it rises with k."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.metrics.passk import mean_pass_at_k, pass_at_k, pass_at_k_curve


def exact(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


@st.composite
def counts(draw: st.DrawFn, largest: int = 200) -> tuple[int, int]:
    n = draw(st.integers(1, largest))
    return n, draw(st.integers(0, n))


@pytest.mark.parametrize("n", range(1, 8))
def test_is_the_share_of_subsets_that_hold_a_correct_sample(n: int) -> None:
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            share = Fraction(sum(map(any, combinations(samples, k))), math.comb(n, k))
            assert pass_at_k([n], [c], k=k)[0] == pytest.approx(float(share), rel=1e-14)


@given(counts())
def test_every_k_agrees_with_exact_fractions(count: tuple[int, int]) -> None:
    n, c = count
    curve = pass_at_k_curve([n], [c], max_k=n)[0]
    assert curve == pytest.approx([float(exact(n, c, k)) for k in range(1, n + 1)], rel=1e-13)


@pytest.mark.parametrize("c", [1, 2, 1_000, 99_999])
@pytest.mark.parametrize("k", [1, 2, 64, 1_024])
def test_keeps_its_relative_precision_at_a_hundred_thousand_samples(c: int, k: int) -> None:
    n = 100_000
    # The smallest is 1e-5, where 1 - C(n-c, k) / C(n, k) in floats has lost five digits.
    assert pass_at_k([n], [c], k=k)[0] == pytest.approx(float(exact(n, c, k)), rel=1e-12)


@given(counts())
def test_pass_at_1_is_the_share_of_correct_samples_to_the_last_bit(count: tuple[int, int]) -> None:
    n, c = count
    assert pass_at_k([n], [c], k=1)[0] == c / n


@given(counts())
def test_never_falls_with_k_and_ends_at_0_or_1(count: tuple[int, int]) -> None:
    n, c = count
    curve = pass_at_k_curve([n], [c], max_k=n)[0]
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == (c > 0)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(1, n))))
def test_never_falls_with_another_correct_sample(case: tuple[int, int, int]) -> None:
    n, c, k = case
    fewer, more = pass_at_k([n, n], [c, c + 1], k=k)
    assert fewer <= more + 1e-15


def test_is_unbiased_whatever_n() -> None:
    # With p the chance of a correct sample, the mean over all outcomes of n draws is 1 - (1 - p)^k.
    p, k = 0.3, 4
    for n in (4, 5, 9):
        chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
        values = pass_at_k([n] * (n + 1), range(n + 1), k=k)
        assert np.dot(chances, values) == pytest.approx(1 - (1 - p) ** k, rel=1e-13)


def test_is_undefined_beyond_the_samples_of_a_question_and_so_is_the_mean() -> None:
    assert np.isnan(pass_at_k_curve([2], [2], max_k=3)[0]).tolist() == [False, False, True]
    assert math.isnan(pass_at_k([0], [0], k=1)[0])
    assert mean_pass_at_k([3, 3], [1, 0], k=3) == 0.5
    assert math.isnan(mean_pass_at_k([3, 2], [1, 0], k=3))
    assert math.isnan(mean_pass_at_k([], [], k=1))


def test_questions_do_not_touch_each_other() -> None:
    n, c = [5, 9, 1], [2, 0, 1]
    together = pass_at_k_curve(n, c, max_k=9)
    for row, (ni, ci) in enumerate(zip(n, c, strict=True)):
        np.testing.assert_array_equal(together[row], pass_at_k_curve([ni], [ci], max_k=9)[0])


@pytest.mark.parametrize(("n", "c", "k"), [([4], [5], 1), ([4], [-1], 1), ([4], [2], 0), ([[4]], [[2]], 1)])
def test_refuses_counts_that_cannot_be(n: list[int], c: list[int], k: int) -> None:
    with pytest.raises(ValueError, match=r"correct samples|at least 1|shape"):
        pass_at_k(n, c, k=k)
