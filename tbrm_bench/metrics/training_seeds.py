"""Means over trainings and questions, with the variance between trainings apart from that over questions.

S trainings that differ in their seed answer the same questions. A training's luck moves all of its answers together, so
more questions do not average it away: only more trainings do. With y_sg the (difference of) scores of training s on
question g,

    y_sg = mu + a_s + b_g + e_sg        a training's luck, a question's share, their interaction and sampled answers
    MS_S = G sum_s (y_s. - y..)^2 / (S - 1)        MS_Q = S sum_g (y_.g - y..)^2 / (G - 1)
    MS_E = sum_sg (y_sg - y_s. - y_.g + y..)^2 / ((S - 1) (G - 1))
    se_seeds^2 = max(0, MS_S - MS_E) / (S G)       se_questions^2 = MS_Q / (S G)       se^2 = their sum

`se_questions` is the bench's own clustered standard error of the scores averaged over trainings. The degrees of freedom
are Satterthwaite's, with max(MS_S, MS_E) in place of MS_S, which errs on the safe side: two or three trainings say
little about trainings, and the interval is as wide as that makes it.

Sources: Searle, Casella and McCulloch 1992, Variance Components (mean squares and their expectations); Satterthwaite
1946, Biometrics Bulletin 2, 110-114; Miller 2024, arXiv 2411.00640 (clusters); docs/metrics.md has the coverage.

Example: two trainings, differences 0.1, 0.3 and 0.2, 0.4 on two questions: mean 0.25, se_seeds 0.05, se_questions 0.1.

Legend: S trainings, Q questions, G clusters of questions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from tbrm_bench.metrics.intervals import clustered_standard_error
from tbrm_bench.metrics.paired import paired_difference

FloatArray = NDArray[np.float64]
NAN = float("nan")
ROUNDING = 1e-20  # a variance below is that of equal numbers


@dataclass(frozen=True, slots=True)
class SeededMean:
    """A mean over S trainings and the questions, with both of its errors; NaN where undefined.

    With one training `se_seeds`, `seed_sd`, `se`, `df` and the interval are NaN: nothing is known of another training.
    """

    mean: float
    se: float  # of another draw of trainings and questions
    se_seeds: float  # the part of the trainings
    se_questions: float  # the part of the questions and of the sampled answers
    seed_sd: float  # of one training, beside another: the estimate of the deviation of a_s
    df: float
    ci_low: float
    ci_high: float
    num_seeds: int
    num_clusters: int


@dataclass(frozen=True, slots=True)
class SeededDifference:
    """The mean of b - a in [-1, 1]; `p_value` asks whether the algorithms differ, `p_questions` whether these runs do.

    `p_value` is of Student's t and NaN with one training; `p_questions` is the paired sign-flip test over the
    questions, for these trainings as they are.
    """

    difference: SeededMean
    p_value: float
    p_questions: float


def seeded_mean(scores: ArrayLike, clusters: ArrayLike, *, low: float = 0.0, high: float = 1.0) -> SeededMean:
    """Return the mean of `scores` (S, Q) with its errors; the 95 % interval stays within [low, high].

    `clusters` (Q,) are any labels: questions of one cluster are drawn together. Any NaN among the scores makes all NaN.
    """
    y = np.asarray(scores, np.float64)
    if y.ndim != 2:
        raise ValueError(f"scores have {y.ndim} dimensions, not trainings times questions")
    per_cluster = cluster_scores(y, clusters)
    num_seeds, num_clusters = per_cluster.shape
    mean = float(y.mean()) if y.size else NAN
    of_questions = float(clustered_standard_error(y.mean(axis=0), clusters)) if y.size else NAN
    if num_seeds < 2 or num_clusters < 2 or np.isnan(mean):
        return SeededMean(mean, NAN, NAN, of_questions, NAN, NAN, NAN, NAN, num_seeds, num_clusters)
    ms_seeds, ms_questions, ms_rest = mean_squares(per_cluster)
    cells = num_seeds * num_clusters
    seed_variance = max(0.0, ms_seeds - ms_rest) / num_clusters
    total = seed_variance / num_seeds + of_questions**2
    if total < ROUNDING:
        seed_variance = total = of_questions = 0.0
    df = (
        NAN
        if not total
        else _degrees(max(ms_seeds, ms_rest), ms_questions, ms_rest, num_seeds, num_clusters, total * cells)
    )
    half = float(stdtrit(df, 0.975)) * total**0.5 if total > 0 else 0.0
    return SeededMean(
        mean=mean,
        se=total**0.5,
        se_seeds=(seed_variance / num_seeds) ** 0.5,
        se_questions=of_questions,
        seed_sd=seed_variance**0.5,
        df=df,
        ci_low=max(low, mean - half),
        ci_high=min(high, mean + half),
        num_seeds=num_seeds,
        num_clusters=num_clusters,
    )


def seeded_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike) -> SeededDifference:
    """Compare two algorithms: scores (S, Q) in [0, 1] of the same training seeds and questions, in the same order.

    Where no question was ever answered differently, or all by the same amount, the spread is 0 and says nothing: the
    interval and `p_value` are then those over the questions.
    """
    one, two = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if one.shape != two.shape:
        raise ValueError(f"scores of shape {one.shape} and {two.shape}: the same trainings and questions are needed")
    found = seeded_mean(two - one, clusters, low=-1.0, high=1.0)
    questions = paired_difference(one.mean(axis=0), two.mean(axis=0), clusters)
    if found.se > 0:
        p_value = 2 * float(stdtr(found.df, -abs(found.mean) / found.se))
        return SeededDifference(found, p_value, questions.p_value)
    if np.isnan(found.se):
        return SeededDifference(found, NAN, questions.p_value)
    values = {field: getattr(found, field) for field in SeededMean.__dataclass_fields__}
    values |= {"ci_low": questions.ci_low, "ci_high": questions.ci_high}
    return SeededDifference(SeededMean(**values), questions.p_value, questions.p_value)


def cluster_scores(scores: FloatArray, clusters: ArrayLike) -> FloatArray:
    """Return (S, G) numbers, one per cluster, whose row means are those of `scores` (S, Q).

    x_sg = y.. + G / Q * sum over the cluster of (y_sq - y..): clusters of one question keep their scores, and the
    spread of the x_.g is that of the bench's clustered standard error.
    """
    if not scores.size:
        return np.zeros((len(scores), 0))
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    num_clusters, middle = int(codes.max()) + 1, scores.mean()
    sums = (scores - middle) @ np.eye(num_clusters)[codes]
    found: FloatArray = middle + sums * (num_clusters / scores.shape[1])
    return found


def mean_squares(y: FloatArray) -> tuple[float, float, float]:
    """Return MS_S, MS_Q and MS_E of a balanced table (S, G), S and G at least 2.

    (S - 1) MS_S + (G - 1) MS_Q + (S - 1) (G - 1) MS_E is the sum of the squared deviations from the mean.
    """
    num_seeds, num_clusters = y.shape
    rows, columns, middle = y.mean(axis=1), y.mean(axis=0), y.mean()
    rest = y - rows[:, None] - columns[None, :] + middle
    return (
        num_clusters * float(np.square(rows - middle).sum()) / (num_seeds - 1),
        num_seeds * float(np.square(columns - middle).sum()) / (num_clusters - 1),
        float(np.square(rest).sum()) / ((num_seeds - 1) * (num_clusters - 1)),
    )


def _degrees(seeds: float, questions: float, rest: float, num_seeds: int, num_clusters: int, total: float) -> float:
    """Return Satterthwaite's degrees of freedom of seeds + questions - rest, which is `total`."""
    spread = (
        seeds**2 / (num_seeds - 1)
        + questions**2 / (num_clusters - 1)
        + rest**2 / ((num_seeds - 1) * (num_clusters - 1))
    )
    return total**2 / spread
