"""Is B better than A? Differences on the same questions, where the difficulty of a question cancels.

Two models answer the same questions. What is compared is d_i = b_i - a_i, the difference of their mean scores on
question i, and not the two averages: on one benchmark the scores of two checkpoints go up and down together, and the
standard error of the difference is often half of what the two error bars suggest.

Sources: Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640 (paired differences, clusters); Fisher 1935, The
Design of Experiments (the sign-flip test); Phipson and Smyth 2010, "Permutation p-values should never be zero" (the
1 + of drawn permutations); Holm 1979, "A simple sequentially rejective multiple test procedure".

Example: differences 1, 1, 0, 1 of four questions: mean 0.75, standard error 0.25, and of the 8 ways to give the three
that are not zero a sign 2 reach |sum| = 3, so p = 0.25.

Legend: Q questions, G clusters, T tasks, M comparisons.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from tbrm_bench.metrics.intervals import clustered_standard_error

FloatArray = NDArray[np.float64]

# Up to this many clusters that differ, every assignment of signs is looked at; beyond, this many are drawn.
MAX_EXACT = 16
NUM_DRAWS = 19_999
CHUNK_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of b - a, in [-1, 1], and how sure it is; NaN where undefined.

    `detectable` is the difference that a comparison with this standard error finds four times in five at the 5 % level:
    when it is large, "no difference was found" says little.
    """

    mean: float
    se: float
    ci_low: float
    ci_high: float
    p_value: float
    detectable: float
    num_clusters: int


def paired_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike) -> PairedDifference:
    """Compare two models on the questions of one task.

    `a` and `b` (Q,) are mean scores in [0, 1] of the same questions in the same order, `clusters` (Q,) any labels.
    """
    d = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    shares = cluster_shares(d, clusters)
    se = float(clustered_standard_error(d, clusters))
    return _difference(float(d.mean()) if d.size else float("nan"), se, shares, len(shares))


def macro_difference(differences: Sequence[PairedDifference], shares: Sequence[FloatArray]) -> PairedDifference:
    """Compare two models on the unweighted mean of T independent tasks; `shares[t]` are the task's `cluster_shares`."""
    num_tasks = len(differences)
    if not num_tasks:
        return _difference(float("nan"), float("nan"), np.zeros(0), 0)
    mean = float(np.mean([difference.mean for difference in differences]))
    se = float(np.sqrt(sum(difference.se**2 for difference in differences))) / num_tasks
    together = np.concatenate([share / num_tasks for share in shares])
    return _difference(mean, se, together, len(together) - num_tasks + 1)


def cluster_shares(differences: ArrayLike, clusters: ArrayLike) -> FloatArray:
    """Return what each cluster adds to the mean difference, (G,): the sum of its d_i over Q. They sum to the mean."""
    d = np.asarray(differences, np.float64)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    return np.bincount(codes, weights=d) / len(d) if d.size else np.zeros(0)


def sign_flip_p_value(shares: ArrayLike, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> float:
    """Return the two-sided p-value of "the models are equal": how often |sum of +-x_g| reaches |sum of x_g|.

    If A and B are equally good, which of them won a cluster is a coin's toss, so each share x_g may carry either sign.
    All assignments are counted where at most MAX_EXACT shares are not 0; else `num_draws` are drawn, and the observed
    one is one of them: p >= 1 / (num_draws + 1). 1 if no share differs from 0; NaN for no shares or a NaN.
    """
    x = np.asarray(shares, np.float64)
    if not x.size or np.isnan(x).any():
        return float("nan")
    x = x[x != 0]
    # Equal sums in another order differ by rounding; they count as reached.
    reached = abs(x.sum()) - 1e-12 * np.abs(x).sum()
    if len(x) <= MAX_EXACT:
        sums = np.zeros(1)
        for share in x:
            sums = np.concatenate([sums + share, sums - share])
        return float(np.mean(np.abs(sums) >= reached))
    generator = np.random.Generator(np.random.Philox(seed))
    hits, left = 1, num_draws
    while left:
        rows = min(left, max(1, CHUNK_CELLS // len(x)))
        drawn = np.frombuffer(generator.bytes(rows * -(-len(x) // 8)), np.uint8)
        heads = np.unpackbits(drawn.reshape(rows, -1), axis=1)
        sums = 2 * (heads[:, : len(x)] @ x) - x.sum()
        hits += int(np.count_nonzero(np.abs(sums) >= reached))
        left -= rows
    return hits / (num_draws + 1)


def holm(p_values: ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values, (M,): below 0.05 they may be believed together. NaN stays NaN and counts not.

    p~ of the i-th smallest is the largest of (M - j + 1) p_j over j <= i, at most 1.
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * float(p[index])))
        adjusted[index] = running
    return adjusted


def _difference(mean: float, se: float, shares: FloatArray, num_clusters: int) -> PairedDifference:
    half = _half_width(se, num_clusters)
    return PairedDifference(
        mean=mean,
        se=se,
        ci_low=max(mean - half, -1.0),
        ci_high=min(mean + half, 1.0),
        p_value=sign_flip_p_value(shares),
        detectable=se * float(stdtrit(num_clusters - 1, 0.975) + ndtri(0.8)) if num_clusters > 1 else float("nan"),
        num_clusters=num_clusters,
    )


def _half_width(se: float, num_clusters: int) -> float:
    """Return t * se; where no question was answered differently, Wilson's bound on the share of those that would be."""
    if num_clusters < 2 or np.isnan(se):
        return float("nan")
    t = float(stdtrit(num_clusters - 1, 0.975))
    return t * se if se > 0 else t**2 / (num_clusters + t**2)
