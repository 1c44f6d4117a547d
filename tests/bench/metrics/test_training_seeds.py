"""Variance between trainings apart from variance over questions: closed forms, invariances, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import stdtrit

from tbrm_bench.metrics.intervals import clustered_standard_error
from tbrm_bench.metrics.paired import paired_difference
from tbrm_bench.metrics.training_seeds import (
    SeededMean,
    cluster_scores,
    mean_squares,
    seeded_difference,
    seeded_mean,
)

FIELDS = tuple(SeededMean.__dataclass_fields__)
SCORES = arrays(float, (3, 8), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))


def values(found: SeededMean) -> list[float]:
    return [getattr(found, field) for field in FIELDS]


def test_the_documented_example() -> None:
    """Additive scores: no interaction, so both parts are those of the margins."""
    found = seeded_mean([[0.1, 0.3], [0.2, 0.4]], ["a", "b"])
    assert found.mean == pytest.approx(0.25)
    assert found.se_seeds == pytest.approx(0.05), "0.15 and 0.35, sd 0.1 / sqrt 2, over sqrt 2"
    assert found.seed_sd == pytest.approx(0.1 / math.sqrt(2))
    assert found.se_questions == pytest.approx(0.1)
    assert found.se == pytest.approx(math.hypot(0.05, 0.1))


def test_trainings_that_differ_in_luck_alone_have_only_that_part() -> None:
    """Every question scores alike: Student's t over the trainings' means."""
    luck = np.array([0.2, 0.5, 0.6, 0.7])
    found = seeded_mean(np.repeat(luck[:, None], 50, axis=1), range(50))
    error = luck.std(ddof=1) / 2
    assert found.se_seeds == pytest.approx(error)
    assert found.se_questions == pytest.approx(0, abs=1e-12)
    assert found.df == pytest.approx(3)
    assert found.ci_low == pytest.approx(luck.mean() - stdtrit(3, 0.975) * error)


def test_trainings_that_are_alike_have_no_such_part() -> None:
    row = np.random.default_rng(0).random(40)
    found = seeded_mean(np.stack([row] * 3), range(40))
    assert found.se_seeds == pytest.approx(0, abs=1e-12)
    assert found.se == pytest.approx(float(clustered_standard_error(row, range(40))))
    assert found.df == pytest.approx(39)


@given(SCORES, st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_the_parts_sum_to_the_total_and_the_questions_part_is_the_bench_s_own(
    scores: np.ndarray, clusters: list[int]
) -> None:
    found = seeded_mean(scores, clusters)
    assert found.se_questions == pytest.approx(
        float(clustered_standard_error(scores.mean(axis=0), clusters)), nan_ok=True
    )
    if len(set(clusters)) < 2:
        assert math.isnan(found.se)
        return
    assert found.se**2 == pytest.approx(found.se_seeds**2 + found.se_questions**2)
    table = cluster_scores(scores, clusters)
    assert table.mean(axis=1) == pytest.approx(scores.mean(axis=1)), "clusters leave each training's mean"
    num_seeds, groups = table.shape
    of_seeds, of_questions, rest = mean_squares(table)
    assert of_questions / table.size == pytest.approx(found.se_questions**2)
    squares = (num_seeds - 1) * of_seeds + (groups - 1) * of_questions + (num_seeds - 1) * (groups - 1) * rest
    assert squares == pytest.approx(float(np.square(table - table.mean()).sum())), "a balanced design splits exactly"


@given(SCORES, st.permutations(range(3)), st.permutations(range(8)))
def test_the_order_of_trainings_and_questions_does_not_matter(
    scores: np.ndarray, seeds: list[int], questions: list[int]
) -> None:
    clusters = np.array([0, 0, 1, 2, 3, 4, 4, 5])
    ours = seeded_mean(scores, clusters)
    theirs = seeded_mean(scores[seeds][:, questions], clusters[questions])
    assert values(ours) == pytest.approx(values(theirs), nan_ok=True, abs=1e-7)


@given(SCORES, SCORES)
def test_exchanged_arms_change_the_sign_alone(a: np.ndarray, b: np.ndarray) -> None:
    one, two = seeded_difference(a, b, range(8)), seeded_difference(b, a, range(8))
    assert one.difference.mean == -two.difference.mean
    assert one.difference.ci_low == pytest.approx(-two.difference.ci_high, nan_ok=True)
    assert (one.p_value, one.p_questions) == pytest.approx((two.p_value, two.p_questions), nan_ok=True)


def test_equal_arms_do_not_differ() -> None:
    scores = np.random.default_rng(1).random((3, 30))
    found = seeded_difference(scores, scores, range(30))
    assert (found.difference.mean, found.difference.se, found.p_value, found.p_questions) == (0, 0, 1, 1)
    assert found.difference.ci_low < 0 < found.difference.ci_high, "30 questions cannot exclude a small difference"


def test_a_constant_difference_is_judged_by_the_questions() -> None:
    scores = np.random.default_rng(1).random((3, 5)) / 2
    found = seeded_difference(scores, scores + 0.3, range(5))
    assert found.difference.se == 0
    assert found.p_value == pytest.approx(2 / 32), "five questions, all the same way"
    assert found.difference.ci_low < 0.3 < found.difference.ci_high


def test_one_training_says_nothing_of_another() -> None:
    scores = np.random.default_rng(2).random((2, 1, 30))
    found = seeded_difference(scores[0], scores[1], range(30))
    paired = paired_difference(scores[0][0], scores[1][0], range(30))
    assert found.difference.mean == pytest.approx(paired.mean)
    assert found.difference.se_questions == pytest.approx(paired.se)
    assert found.p_questions == paired.p_value
    undefined = (found.p_value, found.difference.se, found.difference.se_seeds, found.difference.ci_low)
    assert all(map(math.isnan, undefined))


def test_what_is_undefined_is_nan_and_what_does_not_fit_is_refused() -> None:
    missing = seeded_mean([[0.5, math.nan], [0.5, 0.5]], [0, 1])
    assert math.isnan(missing.mean)
    assert math.isnan(missing.se)
    assert math.isnan(seeded_mean(np.zeros((2, 0)), []).mean)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        seeded_difference(np.zeros((2, 3)), np.zeros((3, 3)), range(3))
    with pytest.raises(ValueError, match="1 dimensions"):
        seeded_mean([0.5, 0.5], [0, 1])


@pytest.mark.parametrize(("num_seeds", "luck"), [(2, 0.0), (2, 0.02), (3, 0.0), (3, 0.05), (5, 0.02), (10, 0.05)])
def test_the_interval_holds_the_truth_as_often_as_it_says(num_seeds: int, luck: float) -> None:
    """Invented differences with known components; 1,000 comparisons know the coverage to 0.7 points."""
    draws = np.random.default_rng(3)
    truth, hits, variances = 0.05, 0, []
    for _ in range(1000):
        noise = 0.3 * draws.standard_normal((num_seeds, 60)) + 0.15 * draws.standard_normal(60)
        found = seeded_mean(truth + luck * draws.standard_normal((num_seeds, 1)) + noise, range(60), low=-9, high=9)
        hits += found.ci_low <= truth <= found.ci_high
        variances.append(found.se**2)
    assert hits >= 925
    expected = luck**2 / num_seeds + 0.15**2 / 60 + 0.3**2 / (60 * num_seeds)
    assert np.mean(variances) >= 0.95 * expected, "never less than the truth; more, since no part counts below 0"
    assert np.mean(variances) <= 1.5 * expected
