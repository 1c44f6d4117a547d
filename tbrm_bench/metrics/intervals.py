"""How sure a score is: standard errors over questions, confidence intervals, the noise of drawing answers.

A benchmark's questions count as a draw from all the questions one might have asked. The score is the mean over
questions; its standard error comes from the spread of the per-question means and so already contains the noise of
sampling the answers: the two are never added.

Sources: Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640 (standard errors, clusters); Wilson 1927 with an
effective sample size, as Korn and Graubard 1998 do for surveys (the interval); Zou and Donner 2008, Statistics in
Medicine 27, the "method of variance estimates recovery" (the interval of a macro-average).

Example: per-question means 1, 1, 0, 0 in four clusters: mean 0.5, standard error 0.289, 95 % interval 0.061 .. 0.939.

Legend: Q questions, G clusters, T tasks, K columns that are treated alike (for example pass@1 .. pass@K).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

FloatArray = NDArray[np.float64]


def standard_error(values: ArrayLike) -> FloatArray:
    """Return the standard error of the mean over questions: sqrt(sum (s_i - mean)^2 / (Q (Q - 1))).

    `values` is (Q,) or (Q, K), the result () or (K,). NaN with fewer than two questions.
    """
    s = np.asarray(values, np.float64)
    return clustered_standard_error(s, np.arange(s.shape[0]))


def clustered_standard_error(values: ArrayLike, clusters: ArrayLike) -> FloatArray:
    """Return the standard error of the mean over questions when questions of one cluster may go together.

        sqrt( G / (G - 1) * sum over clusters g of (sum over i in g of (s_i - mean))^2 ) / Q

    `values` is (Q,) or (Q, K), `clusters` (Q,) holds any labels, the result is () or (K,). NaN with fewer than two
    clusters. The factor G / (G - 1) is the correction for few clusters: with it, one question per cluster gives
    `standard_error` exactly, and asking every question m times gives what asking it once gave. (Miller's formula is
    the same without the factor on the terms between questions; the two meet as G grows.)
    """
    s = np.asarray(values, np.float64)
    labels = np.asarray(clusters)
    if s.ndim not in (1, 2) or labels.shape != s.shape[:1]:
        raise ValueError(f"one cluster label per question: {labels.shape} labels for values of shape {s.shape}")
    codes = np.unique(labels, return_inverse=True)[1]
    num_clusters = int(codes.max()) + 1 if codes.size else 0
    if num_clusters < 2:
        return np.full(s.shape[1:], np.nan)
    sums = np.zeros((num_clusters, *s.shape[1:]))
    np.add.at(sums, codes, s - s.mean(axis=0))
    variance = num_clusters / (num_clusters - 1) * np.square(sums).sum(axis=0) / len(s) ** 2
    return np.asarray(np.sqrt(variance))


def confidence_interval(mean: float, se: float, *, num_clusters: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a mean of values in [0, 1], with Student's t and an effective sample size.

        n_eff = mean (1 - mean) / se^2      (num_clusters if the mean is 0 or 1, where se is 0 and says nothing)
        (mean + t^2 / (2 n_eff) -+ t sqrt(mean (1 - mean) / n_eff + t^2 / (4 n_eff^2))) / (1 + t^2 / n_eff)

    with t the (1 + level) / 2 quantile of Student's t with num_clusters - 1 degrees of freedom. It lies in [0, 1]
    without clipping and is not empty of doubt at 0 of 30. NaN, NaN if the mean or se is NaN or num_clusters < 2.
    """
    if num_clusters < 2 or np.isnan(mean) or np.isnan(se):
        return float("nan"), float("nan")
    t = float(stdtrit(num_clusters - 1, (1 + level) / 2))
    variance = mean * (1 - mean)
    inverse_n = se**2 / variance if variance > 0 else 1 / num_clusters  # 1 / n_eff: finite where n_eff is not
    scale = 1 + t**2 * inverse_n
    centre = (mean + t**2 * inverse_n / 2) / scale
    half = t * float(np.sqrt(variance * inverse_n + (t * inverse_n / 2) ** 2)) / scale
    return max(centre - half, 0.0), min(centre + half, 1.0)  # only a rounding can lie outside


def sampling_sd(num_samples: ArrayLike, num_correct: ArrayLike) -> float:
    """Return the sd that avg@k would show if the same questions were asked again, new answers drawn.

        sqrt( sum over questions of  c (n - c) / (n^2 (n - 1)) ) / Q

    `num_samples` (n) and `num_correct` (c) have shape (Q,). The square is unbiased: c (n - c) / (n (n - 1)) is the
    unbiased estimate of p (1 - p), and a question's mean has variance p (1 - p) / n. Times sqrt(n), it is the sd of the
    score of runs with one sample per question, the "sd over seeds" of some papers. NaN if any n < 2 or without
    questions.
    """
    n, c = np.asarray(num_samples, np.float64), np.asarray(num_correct, np.float64)
    if not n.size or np.any(n < 2):
        return float("nan")
    return float(np.sqrt(np.sum(c * (n - c) / (n**2 * (n - 1))))) / len(n)


def macro_mean(values: ArrayLike) -> float:
    """Return the unweighted mean over tasks (T,); NaN if any is NaN or there is none."""
    v = np.asarray(values, np.float64)
    return float(v.mean()) if v.size else float("nan")


def macro_standard_error(standard_errors: ArrayLike) -> float:
    """Return the standard error of the mean over independent tasks: sqrt(sum se_t^2) / T; NaN if any is NaN."""
    se = np.asarray(standard_errors, np.float64)
    return float(np.sqrt(np.square(se).sum()) / len(se)) if se.size else float("nan")


def macro_interval(means: ArrayLike, lows: ArrayLike, highs: ArrayLike) -> tuple[float, float]:
    """Return the interval of the mean over independent tasks, from the tasks' own intervals, all (T,).

        low = mean - sqrt(sum (mean_t - low_t)^2) / T        high = mean + sqrt(sum (high_t - mean_t)^2) / T

    It keeps the tasks' asymmetry, equals the task's interval for one task, lies within the mean of the lows and the
    mean of the highs, and does not forget a task whose standard error is 0. NaN if any is NaN or there is none.
    """
    m, low, high = (np.asarray(x, np.float64) for x in (means, lows, highs))
    centre, num_tasks = macro_mean(m), max(len(m), 1)
    below = float(np.sqrt(np.square(m - low).sum())) / num_tasks
    above = float(np.sqrt(np.square(high - m).sum())) / num_tasks
    return centre - below, centre + above
