"""Ranks as ranges: a row's best and worst rank that the data leave open.

Row A is above row B when the difference of their scores (the mean over the tasks, or the one task that the board is
ordered by) is significant after Holm's correction over all pairs of the board. A row's best rank is 1 + the rows above
it, its worst N - the rows below it. Two measured rows are compared question by question (metrics.paired); where one is
only reported, by their standard errors as if independent.

Example: A above C, B tied with both: ranks 1-2, 1-3, 2-3.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

from tbrm_bench.leaderboard.board import MEAN
from tbrm_bench.leaderboard.rows import BoardRow
from tbrm_bench.metrics.paired import cluster_shares, holm, sign_flip_p_value

LEVEL = 0.05
# Outside this range Student's t decides, which is then in no doubt; inside, the sign-flip test is asked.
ASK_BETWEEN = (1e-5, 0.1)
# Of more rows there are so many pairs that asking takes minutes; Student's t then decides everywhere.
MAX_ASKED_ROWS = 60

FloatArray = NDArray[np.float64]


def rank_ranges(
    rows: Sequence[BoardRow], *, order: str = MEAN, level: float = LEVEL, p_values: FloatArray | None = None
) -> list[tuple[int, int]]:
    """Return (best, worst) rank of each row, in the order given, by the mean over the tasks or by one task.

    `p_values` are those of `pair_p_values` for these rows in this order, if they are known.
    """
    rows = [row.ranked(order) for row in rows]
    one, two = np.triu_indices(len(rows), 1)
    adjusted = holm((pair_p_values(rows) if p_values is None else p_values)[one, two])
    above, below = [0] * len(rows), [0] * len(rows)
    for i, j in zip(one[adjusted < level], two[adjusted < level], strict=True):
        better, worse = (i, j) if rows[i].score > rows[j].score else (j, i)
        above[worse] += 1
        below[better] += 1
    return [(1 + up, len(rows) - down) for up, down in zip(above, below, strict=True)]


def pair_p_values(rows: Sequence[BoardRow]) -> FloatArray:
    """Return the two-sided p-values of "both are equally good" on the mean over the tasks: (N, N), the diagonal 1."""
    scores, errors = np.array([row.score for row in rows]), np.array([row.se for row in rows])
    p = _independent(scores - scores[:, None], np.hypot(errors, errors[:, None]))
    groups: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        if row.kind == "measured":
            groups.setdefault(questions_of(row), []).append(index)
    for members in groups.values():
        shares = np.array([_shares(rows[index]) for index in members])
        for place, index in enumerate(members[:-1]):
            later = members[place + 1 :]
            p[index, later] = p[later, index] = _paired(
                shares[place + 1 :] - shares[place], asks=len(rows) <= MAX_ASKED_ROWS
            )
    return p


def questions_of(row: BoardRow) -> Hashable:
    """Return what two measured rows have in common when their differences can be paired: problems in their clusters."""
    return tuple((name, *task.cluster.items()) for name, task in row.tasks.items())


def _independent(differences: FloatArray, errors: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * ndtr(-np.abs(differences) / errors)
    return np.where(errors > 0, p, differences == 0)


def _paired(shares: FloatArray, *, asks: bool) -> FloatArray:
    """Return the p-value of each row of differences, (N, G), cluster by cluster."""
    shares = np.where(np.abs(shares) < 1e-12, 0.0, shares)  # clusters that score the same, but for rounding
    spreads = np.sqrt(np.square(shares - shares.mean(axis=1, keepdims=True)).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(2 * stdtr(shares.shape[1] - 1, -np.abs(shares.sum(axis=1)) / spreads))
    asked = (spreads == 0) | (asks & (ASK_BETWEEN[0] < p) & (p < ASK_BETWEEN[1]))
    for index in np.flatnonzero(asked):
        p[index] = sign_flip_p_value(shares[index])
    return p


def _shares(row: BoardRow) -> FloatArray:
    """Return what each cluster of each task adds to the row's mean."""
    tasks = row.tasks.values()
    return np.concatenate(
        [cluster_shares(list(task.scores.values()), list(task.cluster.values())) / len(tasks) for task in tasks]
    )
