"""The rows of a board: measured ones, made from a run with its lock and its counts, and reported ones, from papers.

    {"schema": 1, "name": "mine-7b", "kind": "measured", "lock_hash": "...", "grader": "tbrm-3", ...,
     "samples": {"repo": "owner/results", "commit": "0a1b...", "run": "mine-7b"},      if it was added from the Hub
     "tasks": {"aime24": {"k": 32, "correct": {"60": 7, "61": 0}, "cluster": {"60": "60", "61": "61"},
                          "num_tokens": 51200}},        all that was generated
     "scores": {"metric": "avg@k", "mean": {"score": 0.11, "se": 0.11, "ci": [0.0, 0.8]}, "tasks": {...}}}
    {"schema": 1, "name": "theirs", "kind": "reported", "source": {"title": "...", "url": "..."},
     "tasks": {"aime24": {"score": 0.143}}}

A measured row holds how many samples of each problem were correct, and no text, so that any two of them can be compared
question by question without their runs. Its scores follow from the counts and are checked against them. Rows of older
versions lack num_tokens and scores.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from tbrm_bench.config import Count, Place, Share, Text, convert
from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text
from tbrm_bench.leaderboard.board import MEAN, Board
from tbrm_bench.metrics.intervals import clustered_standard_error, confidence_interval, macro_interval
from tbrm_bench.metrics.passk import pass_at_k
from tbrm_bench.strict_json import checked_schema, parse_json
from tbrm_bench.tasks.spec import load_task

SCHEMA = 1
MAX_SLUG = 100  # characters of a file name
FIX = "add the run again, or use the version that wrote the row"


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row's score on one task, in [0, 1], by the board's metric.

    Scores, counts and clusters are by problem id, in the order of the ids; none where only a score is known.
    """

    score: float
    se: float
    k: int
    num_problems: int
    scores: Mapping[str, float] = field(default_factory=dict)
    correct: Mapping[str, int] = field(default_factory=dict)
    cluster: Mapping[str, str] = field(default_factory=dict)
    num_tokens: int | None = None  # generated for all samples of the task

    @property
    def ci(self) -> tuple[float, float]:
        """The 95 % interval of `score`, as in results.json."""
        num_clusters = len(set(self.cluster.values())) if self.cluster else self.num_problems
        return confidence_interval(self.score, self.se, num_clusters=num_clusters)


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One row of a board."""

    name: str
    kind: Literal["measured", "reported"]
    tasks: Mapping[str, TaskRow]
    about: Mapping[str, Any]  # lock, lock_hash, grader, model, commit, date, samples; or source
    file: str = ""

    @property
    def score(self) -> float:
        """The unweighted mean over the tasks."""
        return sum(task.score for task in self.tasks.values()) / len(self.tasks)

    @property
    def se(self) -> float:
        """The standard error of `score`, the tasks being independent."""
        return math.sqrt(sum(task.se**2 for task in self.tasks.values())) / len(self.tasks)

    @property
    def ci(self) -> tuple[float, float]:
        """The 95 % interval of `score`."""
        tasks = self.tasks.values()
        lows, highs = zip(*(task.ci for task in tasks), strict=True)
        return macro_interval([task.score for task in tasks], lows, highs)

    @property
    def cost(self) -> float | None:
        """Generated tokens per answer, the mean over the tasks; None where they were not counted."""
        tasks = self.tasks.values()
        means = [task.num_tokens / (task.k * task.num_problems) for task in tasks if task.num_tokens is not None]
        return sum(means) / len(tasks) if len(means) == len(tasks) else None

    def ranked(self, order: str) -> "BoardRow":
        """Return the row with nothing but what the board is ordered by: the mean over all tasks, or one task."""
        return self if order == MEAN else replace(self, tasks={order: self.tasks[order]})


def read_rows(board: Board) -> list[BoardRow]:
    """Return all rows of a board, best first by the board's order."""
    rows = []
    for file in sorted(board.rows_dir.glob("*.json")):
        rows.append(read_row(board, parse_json(read_text(file), place=str(file), fix=FIX), file.name))
    return sorted(rows, key=lambda row: (-row.ranked(board.order).score, row.name))


def read_row(board: Board, content: Any, file: str) -> BoardRow:
    """Return a row; raises UserError that says what is wrong with its JSON."""
    content = checked_schema(content, SCHEMA, place=file, fix=FIX)
    place = Place(file, fix=FIX)
    name = convert(content.get("name"), Text, place.child("name"))
    kind = convert(content.get("kind"), Literal["measured", "reported"], place.child("kind"))
    tasks = convert(content.get("tasks"), dict[str, Any], place.child("tasks"))
    source = convert(content.get("source") or {}, dict[str, Any], place.child("source"))
    if set(tasks) != set(board.tasks):
        raise UserError(f"{file} has the tasks {', '.join(tasks)}, board {board.name} ranks {', '.join(board.tasks)}")
    if kind == "reported" and not convert(source.get("url", ""), str, place.child("source").child("url")):
        raise UserError(f"{file} reports scores without a source.url; add the page that states them")
    stored_as = _Measured if kind == "measured" else _Reported
    scores = {}
    for task in board.tasks:
        stored = convert(tasks[task], stored_as, place.child("tasks").child(task))
        try:
            is_measured = isinstance(stored, _Measured)
            scores[task] = _measured(task, stored, board.pass_k) if is_measured else _reported(task, stored)
        except ValueError as error:
            raise UserError(f"{file} has a task that cannot be read: {error}") from error
    about = {key: value for key, value in content.items() if key not in ("name", "kind", "tasks", "scores")}
    row = BoardRow(name, kind, scores, about, file)
    _check_scores(board, row, content.get("scores"))
    return row


def scores_json(board: Board, row: BoardRow) -> dict[str, Any]:
    """Return a row's scores for whoever reads its file without this program: they follow from the counts."""
    return {
        "metric": board.metric,
        "mean": _score_json(row),
        "tasks": {name: _score_json(task) for name, task in row.tasks.items()},
    }


def _score_json(scored: BoardRow | TaskRow) -> dict[str, Any]:
    """Return score, error and interval, undefined ones as None."""
    score, se, low, high = (
        round(float(value), 8) if math.isfinite(value) else None for value in (scored.score, scored.se, *scored.ci)
    )
    return {"score": score, "se": se, "ci": [low, high]}


def _check_scores(board: Board, row: BoardRow, stated: Any) -> None:
    """Raise UserError if a file states other scores than its counts make; those by another metric cannot be checked."""
    if stated is None or (isinstance(stated, dict) and stated.get("metric") != board.metric):
        return
    made = scores_json(board, row)
    if not _near(stated, made):
        raise UserError(
            f"{row.file} states scores that its counts do not make; it was changed by hand, add the run again"
        )


def _near(one: Any, two: Any) -> bool:
    """Whether two JSON values are equal but for the last digits of their numbers."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_near(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_near, one, two))
    if isinstance(one, int | float) and isinstance(two, int | float):
        return math.isclose(one, two, abs_tol=1e-6)
    return bool(one == two)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A task of a measured row, as it is stored."""

    k: Count
    correct: Mapping[str, int]
    cluster: Mapping[str, str]
    num_tokens: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, slots=True)
class _Reported:
    """A task of a reported row, as it is stored."""

    score: Share
    num_problems: Count | None = None


def _measured(task: str, stored: _Measured, pass_k: int | None) -> TaskRow:
    k, correct, cluster = stored.k, stored.correct, stored.cluster
    if not correct or set(correct) != set(cluster) or not all(0 <= count <= k for count in correct.values()):
        raise ValueError(f"counts of {task} are not between 0 and {k}, or lack a cluster")
    if pass_k is not None and k < pass_k:
        raise ValueError(f"{k} samples of {task} are too few for pass@{pass_k}")
    names = sorted(correct)
    counts = [correct[name] for name in names]
    by_count = scores_by_count(k, pass_k)
    scores = [by_count[count] for count in counts]
    se = float(clustered_standard_error(scores, [cluster[name] for name in names]))
    return TaskRow(
        float(np.mean(scores)),
        se,
        k,
        len(names),
        scores=dict(zip(names, scores, strict=True)),
        correct=dict(zip(names, counts, strict=True)),
        cluster={name: cluster[name] for name in names},
        num_tokens=stored.num_tokens,
    )


def scores_by_count(k: int, pass_k: int | None) -> list[float]:
    """Return what a problem scores with 0, 1, ..., k of k samples correct: avg@k, or pass@`pass_k`."""
    if pass_k is None:
        return [count / k for count in range(k + 1)]
    return [float(score) for score in pass_at_k([k] * (k + 1), range(k + 1), k=pass_k)]


def _reported(task: str, stored: _Reported) -> TaskRow:
    score, num_problems = stored.score, stored.num_problems or load_task(task).num_rows
    # Means of problems lie in [0, 1], so their variance is at most p (1 - p): an upper bound on what is not reported.
    return TaskRow(score, math.sqrt(score * (1 - score) / num_problems), 0, num_problems)


def slug(name: str) -> str:
    """Return a file name for a row's name; where letters of it are lost, a hash tells it from its like."""
    kept = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    if kept and len(kept) <= MAX_SLUG and all(char.isascii() or not char.isalnum() for char in name):
        return kept
    return f"{kept[:MAX_SLUG] or 'row'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
