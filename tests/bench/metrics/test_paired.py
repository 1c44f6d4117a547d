"""Laws of paired comparisons: closed forms, symmetries, and how often equal models are called different."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tbrm_bench.metrics.paired import (
    MAX_EXACT,
    cluster_shares,
    holm,
    macro_difference,
    paired_difference,
    sign_flip_p_value,
)

scores = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=12)


def split(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = (np.array([pair[side] for pair in pairs]) / 8 for side in (0, 1))
    return a, b, np.arange(len(pairs))


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=9))
def test_the_exact_p_value_is_the_count_over_all_signs(shares: list[int]) -> None:
    signs = itertools.product((1, -1), repeat=len(shares))
    sums = [abs(sum(sign * share for sign, share in zip(row, shares, strict=True))) for row in signs]
    assert sign_flip_p_value(shares) == pytest.approx(np.mean([total >= abs(sum(shares)) for total in sums]))


def test_one_sided_wins_are_the_binomial_sign_test() -> None:
    """9 wins and 3 losses of the same size: the sign test, where both tails reach as far."""
    shares = np.array([1.0] * 9 + [-1.0] * 3)
    assert sign_flip_p_value(shares) == pytest.approx(stats.binomtest(9, 12).pvalue)


def test_drawn_signs_agree_with_all_signs() -> None:
    generator = np.random.default_rng(1)
    for size in (MAX_EXACT + 1, 40, 300):
        shares = np.where(generator.random(size) < 0.6, 1.0, -1.0)
        exact = stats.binomtest(int((shares > 0).sum()), size).pvalue
        drawn = sign_flip_p_value(shares)
        assert abs(drawn - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4


@given(scores)
def test_swapping_the_models_changes_nothing_but_the_sign(pairs: list[tuple[int, int]]) -> None:
    a, b, labels = split(pairs)
    forth, back = paired_difference(a, b, labels), paired_difference(b, a, labels)
    assert (back.mean, back.ci_low, back.ci_high) == pytest.approx((-forth.mean, -forth.ci_high, -forth.ci_low))
    assert (back.se, back.p_value) == pytest.approx((forth.se, forth.p_value))


@given(scores, st.integers(2, 4))
def test_asking_every_question_m_times_teaches_nothing(pairs: list[tuple[int, int]], m: int) -> None:
    a, b, labels = split(pairs)
    once, often = paired_difference(a, b, labels), paired_difference(*(np.repeat(x, m) for x in (a, b, labels)))
    assert (often.mean, often.se, often.p_value) == pytest.approx((once.mean, once.se, once.p_value))


@given(scores)
def test_the_standard_error_is_the_paired_t_tests(pairs: list[tuple[int, int]]) -> None:
    a, b, labels = split(pairs)
    difference = paired_difference(a, b, labels)
    if difference.se > 0:
        expected = stats.ttest_rel(b, a).confidence_interval(0.95)
        assert difference.ci_low == pytest.approx(max(expected.low, -1))
        assert difference.ci_high == pytest.approx(min(expected.high, 1))


def test_a_common_difficulty_cancels() -> None:
    """Questions that are hard for both do not widen the error of the difference, only those of the scores."""
    hard = np.linspace(0, 0.9, 50)
    gain = paired_difference(hard, hard + 0.1, np.arange(50))
    assert gain.mean == pytest.approx(0.1)
    assert gain.se == pytest.approx(0, abs=1e-12)
    assert gain.p_value < 1e-4


@pytest.mark.parametrize("num_clusters", [20, 60])
def test_equal_models_are_called_different_no_more_often_than_said(num_clusters: int) -> None:
    """2,000 comparisons of a model with itself, questions in clusters of up to three, five answers each."""
    generator = np.random.default_rng(num_clusters)
    found = 0
    for _ in range(2000):
        labels = np.repeat(np.arange(num_clusters), generator.integers(1, 4, num_clusters))
        solve = generator.beta(0.5, 0.8, num_clusters)[labels]
        a, b = generator.binomial(5, solve) / 5, generator.binomial(5, solve) / 5
        found += sign_flip_p_value(cluster_shares(b - a, labels), num_draws=999) <= 0.05
    assert found / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert found / 2000 > 0.02, "a test that never finds anything would pass too"


def test_no_difference_seen_is_not_no_difference() -> None:
    same = paired_difference([0, 0, 1], [0, 0, 1], [0, 1, 2])
    assert (same.mean, same.se, same.p_value) == (0, 0, 1)
    assert same.ci_low == -same.ci_high < -0.5, "three questions cannot exclude much"
    assert math.isnan(paired_difference([1], [0], ["alone"]).ci_low)


@given(scores)
def test_the_mean_over_one_task_is_that_task(pairs: list[tuple[int, int]]) -> None:
    a, b, labels = split(pairs)
    alone = paired_difference(a, b, labels)
    macro = macro_difference([alone], [cluster_shares(b - a, labels)])
    assert macro == alone


def test_the_mean_over_tasks_weighs_tasks_not_questions() -> None:
    few, many = np.array([1.0, 0.0]), np.zeros(100)
    parts = [paired_difference(np.zeros(len(d)), d, np.arange(len(d))) for d in (few, many)]
    macro = macro_difference(parts, [cluster_shares(d, np.arange(len(d))) for d in (few, many)])
    assert macro.mean == pytest.approx(0.25)
    assert macro.se == pytest.approx(parts[0].se / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_the_p_values_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-15
    order = np.argsort(p_values)
    assert list(adjusted[order]) == sorted(adjusted)


def test_holm_by_hand_and_what_is_undefined_takes_no_part() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, math.nan, 0.03])[[0, 2]] == pytest.approx([0.02, 0.03])
