"""Ranks as ranges: a row's best and worst rank that the data leave open.

Row A is above row B when the difference of their scores (the mean over the tasks, or the one task that the board is
ordered by) is significant after Holm's correction over all pairs of the board. A row's best rank is 1 + the rows above
it, its worst N - the rows below it. Two measured rows are compared question by question (metrics.paired); where one is
only reported, by their standard errors as if independent.

Example: A above C, B tied with both: ranks 1-2, 1-3, 2-3.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, stdtr

from tbrm_bench.leaderboard.board import MEAN
from tbrm_bench.leaderboard.rows import Row, TaskRow
from tbrm_bench.metrics.paired import cluster_shares, holm, sign_flip_p_value

LEVEL = 0.05
# Outside this range Student's t decides, which is then in no doubt; inside, the sign-flip test is asked.
ASK_BETWEEN = (1e-5, 0.1)


def rank_ranges(rows: Sequence[Row], *, order: str = MEAN, level: float = LEVEL) -> list[tuple[int, int]]:
    """Return (best, worst) rank of each row, in the order given, by the mean over the tasks or by one task."""
    rows = [row.ranked(order) for row in rows]
    pairs = list(itertools.combinations(range(len(rows)), 2))
    adjusted = holm([difference_p_value(rows[i], rows[j]) for i, j in pairs])
    above, below = [0] * len(rows), [0] * len(rows)
    for (i, j), p in zip(pairs, adjusted, strict=True):
        if p < level:
            better, worse = (i, j) if rows[i].score > rows[j].score else (j, i)
            above[worse] += 1
            below[better] += 1
    return [(1 + up, len(rows) - down) for up, down in zip(above, below, strict=True)]


def difference_p_value(a: Row, b: Row) -> float:
    """Return the two-sided p-value of "both are equally good" on the mean over the tasks."""
    if a.kind == b.kind == "measured" and all(same_questions(a.tasks[task], b.tasks[task]) for task in a.tasks):
        return _paired_p_value(a, b)
    se = math.hypot(a.se, b.se)
    return float(2 * ndtr(-abs(a.score - b.score) / se)) if se > 0 else float(a.score == b.score)


def same_questions(one: TaskRow, two: TaskRow) -> bool:
    """Whether both were measured on the same problems in the same clusters, so that their differences can be paired."""
    return bool(one.cluster) and one.cluster == two.cluster


def _paired_p_value(a: Row, b: Row) -> float:
    shares = np.concatenate([_task_shares(a, b, task) / len(a.tasks) for task in a.tasks])
    spread = float(np.sqrt(np.square(shares - shares.mean()).sum()))
    if spread == 0:
        return sign_flip_p_value(shares)
    quick = 2 * float(stdtr(len(shares) - 1, -abs(float(shares.sum())) / spread))
    return sign_flip_p_value(shares) if ASK_BETWEEN[0] < quick < ASK_BETWEEN[1] else quick


def _task_shares(a: Row, b: Row, task: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    one, two = a.tasks[task], b.tasks[task]
    deltas = [two.scores[name] - score for name, score in one.scores.items()]
    return cluster_shares(deltas, list(one.cluster.values()))
