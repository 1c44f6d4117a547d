"""Laws of the error bars: closed forms, invariances, and the truth found by drawing many benchmarks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.metrics.intervals import (
    clustered_standard_error,
    confidence_interval,
    macro_interval,
    macro_mean,
    macro_standard_error,
    sampling_sd,
    standard_error,
)

shares = st.lists(st.integers(0, 32).map(lambda c: c / 32), min_size=2, max_size=40)


@given(shares)
def test_standard_error_is_the_textbook_formula(values: list[float]) -> None:
    expected = np.std(values, ddof=1) / math.sqrt(len(values))
    assert float(standard_error(values)) == pytest.approx(expected, abs=1e-15)


@given(shares)
def test_one_question_a_cluster_is_the_unclustered_standard_error(values: list[float]) -> None:
    labels = [f"cluster {i}" for i in range(len(values))]
    assert float(clustered_standard_error(values, labels)) == pytest.approx(float(standard_error(values)), abs=1e-15)


@given(shares, st.integers(2, 5))
def test_asking_every_question_m_times_teaches_nothing(values: list[float], m: int) -> None:
    copies, labels = np.repeat(values, m), np.repeat(np.arange(len(values)), m)
    assert float(clustered_standard_error(copies, labels)) == pytest.approx(float(standard_error(values)), abs=1e-14)
    # Who forgets the clusters is too sure by sqrt(m), up to the correction for few questions.
    factor = math.sqrt((m * len(values) - 1) / (len(values) - 1))
    assert float(standard_error(copies)) * factor == pytest.approx(float(standard_error(values)), abs=1e-14)


@given(shares, st.randoms())
def test_does_not_depend_on_the_order_of_the_questions(values: list[float], random: object) -> None:
    rows = [(value, index // 3) for index, value in enumerate(values)]
    before = clustered_standard_error([v for v, _ in rows], [g for _, g in rows])
    random.shuffle(rows)  # type: ignore[attr-defined]
    after = clustered_standard_error([v for v, _ in rows], [g for _, g in rows])
    np.testing.assert_allclose(after, before, atol=1e-14)


def test_agrees_with_the_published_formula_up_to_its_correction() -> None:
    # arXiv 2411.00640 adds the cross terms within clusters to the unclustered variance; written out as loops.
    rng = np.random.default_rng(0)
    s, g = rng.random(60), rng.integers(0, 20, 60)
    d, num_clusters = s - s.mean(), len(set(g.tolist()))
    diagonal = sum(x * x for x in d)
    cross = sum(d[i] * d[j] for i in range(60) for j in range(60) if i != j and g[i] == g[j])
    ours = math.sqrt(num_clusters / (num_clusters - 1) * (diagonal + cross)) / 60
    published = math.sqrt(60 / 59 * diagonal + cross) / 60
    assert float(clustered_standard_error(s, g)) == pytest.approx(ours, rel=1e-12)
    assert published == pytest.approx(ours, rel=0.03)


def test_columns_are_treated_alike() -> None:
    rng = np.random.default_rng(1)
    table, labels = rng.random((12, 3)), np.arange(12) // 2
    for column, value in enumerate(clustered_standard_error(table, labels)):
        assert value == clustered_standard_error(table[:, column], labels)


def test_undefined_below_two_clusters() -> None:
    assert np.isnan(standard_error([0.5]))
    assert np.isnan(standard_error([]))
    assert np.isnan(clustered_standard_error([0.5, 0.7], ["a", "a"]))
    assert np.isnan(clustered_standard_error([[0.5, 1.0]], ["a"])).all()
    with pytest.raises(ValueError, match="one cluster label per question"):
        clustered_standard_error([0.5, 0.7], ["a"])


def test_squared_standard_error_is_the_variance_of_the_score() -> None:
    # 20,000 benchmarks of 15 clusters of 4 questions, answered 3 times; a cluster shares its difficulty.
    rng = np.random.default_rng(2)
    difficulty = rng.beta(1, 1, (20_000, 15, 1))
    chance = np.clip(difficulty + rng.uniform(-0.1, 0.1, (20_000, 15, 4)), 0, 1)
    values = rng.binomial(3, chance).reshape(20_000, 60).T / 3  # (questions, benchmarks)
    labels = np.repeat(np.arange(15), 4)
    truth = values.mean(axis=0).var(ddof=1)
    estimate = np.square(clustered_standard_error(values, labels)).mean()
    assert estimate == pytest.approx(truth, rel=0.03)  # three standard errors of `truth`
    assert np.square(standard_error(values)).mean() < truth / 2  # the clusters matter here


def test_answer_sampling_sd_is_unbiased_in_the_square() -> None:
    # Over all outcomes of n draws with chance p, the mean of the estimate is the variance of a question's mean.
    p = 0.37
    for n in (2, 3, 8):
        chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
        mean_square = sum(chance * sampling_sd([n], [c]) ** 2 for c, chance in enumerate(chances))
        assert mean_square == pytest.approx(p * (1 - p) / n, rel=1e-12)


def test_answer_sampling_sd_is_the_spread_of_repeated_runs() -> None:
    rng = np.random.default_rng(3)
    chance = rng.beta(0.5, 0.5, 30)
    correct = rng.binomial(8, chance, (20_000, 30))  # the same questions, answered anew
    truth = (correct / 8).mean(axis=1).var(ddof=1)
    estimate = np.mean([sampling_sd([8] * 30, row) ** 2 for row in correct[:3000]])
    assert estimate == pytest.approx(truth, rel=0.03)


def test_answer_sampling_sd_needs_two_samples_of_every_question() -> None:
    assert math.isnan(sampling_sd([1, 8], [1, 4]))
    assert math.isnan(sampling_sd([], []))
    assert sampling_sd([2, 2], [0, 2]) == 0


@given(st.floats(0.01, 0.99), st.floats(1e-6, 0.2), st.integers(2, 1000))
def test_interval_holds_the_mean_lies_in_0_1_and_mirrors(mean: float, se: float, num_clusters: int) -> None:
    low, high = confidence_interval(mean, se, num_clusters=num_clusters)
    assert 0 <= low < mean < high <= 1
    mirrored = confidence_interval(1 - mean, se, num_clusters=num_clusters)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_interval_of_many_single_answers_is_wilson() -> None:
    # Wilson's interval at 95 % for 60 of 100, from the textbook formula with z.
    n, p, z = 100_000, 0.6, 1.959963984540054
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    assert confidence_interval(p, math.sqrt(p * (1 - p) / n), num_clusters=n) == pytest.approx(expected, abs=1e-7)


def test_interval_is_mean_and_t_standard_errors_when_the_error_is_small() -> None:
    low, high = confidence_interval(0.5, 1e-4, num_clusters=30)
    assert (high - low) / 2 == pytest.approx(2.045229642 * 1e-4, rel=1e-4)


def test_all_wrong_is_not_certainty() -> None:
    low, high = confidence_interval(0.0, 0.0, num_clusters=30)
    assert low == 0
    assert 0.1 < high < 0.15  # the exact bound of 0 of 30 is 0.116
    assert confidence_interval(1.0, 0.0, num_clusters=30) == pytest.approx((1 - high, 1))
    assert confidence_interval(0.5, 0.0, num_clusters=30) == (0.5, 0.5)


@pytest.mark.parametrize(("alpha", "beta", "k"), [(1, 1, 32), (0.3, 2.7, 1), (2, 2, 1), (1.5, 1, 8)])
def test_interval_holds_the_truth_19_times_in_20(alpha: float, beta: float, k: int) -> None:
    rng = np.random.default_rng(4)
    values = rng.binomial(k, rng.beta(alpha, beta, (30, 4000))) / k  # (questions, benchmarks)
    means, errors, truth = values.mean(axis=0), standard_error(values), alpha / (alpha + beta)
    intervals = [confidence_interval(m, se, num_clusters=30) for m, se in zip(means, errors, strict=True)]
    assert 0.94 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.985


@pytest.mark.parametrize(("mean", "se", "clusters"), [(math.nan, 0.1, 9), (0.5, math.nan, 9), (0.5, 0.1, 1)])
def test_interval_is_undefined_where_its_inputs_are(mean: float, se: float, clusters: int) -> None:
    assert np.isnan(confidence_interval(mean, se, num_clusters=clusters)).all()


def test_macro_average_closed_forms() -> None:
    assert macro_mean([0.2, 0.4]) == pytest.approx(0.3)
    assert macro_standard_error([0.03, 0.04]) == pytest.approx(0.025)
    assert macro_interval([0.3], [0.1], [0.6]) == pytest.approx((0.1, 0.6))
    # Equal tasks: the interval shrinks with the square root of their number, on each side by itself.
    assert macro_interval([0.3] * 4, [0.1] * 4, [0.6] * 4) == pytest.approx((0.2, 0.45))


def test_macro_average_is_undefined_when_a_task_is() -> None:
    assert math.isnan(macro_mean([0.2, math.nan]))
    assert math.isnan(macro_standard_error([0.03, math.nan]))
    assert np.isnan(macro_interval([0.3, 0.5], [0.1, math.nan], [0.6, math.nan])).all()
    assert math.isnan(macro_mean([]))
    assert math.isnan(macro_standard_error([]))
    assert np.isnan(macro_interval([], [], [])).all()


def test_macro_interval_holds_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(5)
    shapes = [(0.5, 2.5, 30, 8), (0.4, 2.6, 30, 8), (1.5, 1.0, 40, 8), (2.0, 0.8, 200, 1)]
    truth = np.mean([a / (a + b) for a, b, _, _ in shapes])
    num_hits, num_runs = 0, 1500
    for _ in range(num_runs):
        tasks = []
        for a, b, q, k in shapes:
            values = rng.binomial(k, rng.beta(a, b, q)) / k
            mean = float(values.mean())
            tasks.append((mean, *confidence_interval(mean, float(standard_error(values)), num_clusters=q)))
        low, high = macro_interval(*np.transpose(tasks))
        num_hits += int(low <= truth <= high)
    assert 0.935 <= num_hits / num_runs <= 0.975
