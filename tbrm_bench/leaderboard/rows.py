"""The rows of a board: measured ones, made from a run with its lock and its counts, and reported ones, from papers.

    {"schema": 1, "name": "mine-7b", "kind": "measured", "lock_hash": "...", "grader": "tbrm-1", ...,
     "tasks": {"aime24": {"k": 32, "correct": {"60": 7, "61": 0}, "cluster": {"60": "60", "61": "61"}}}}
    {"schema": 1, "name": "theirs", "kind": "reported", "source": {"title": "...", "url": "..."},
     "tasks": {"aime24": {"score": 0.143}}}

A measured row holds how many samples of each problem were correct, and no text, so that any two of them can be compared
question by question without their runs.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.board import Board, agreed_fields
from tbrm_bench.metrics.intervals import clustered_standard_error
from tbrm_bench.records import Status
from tbrm_bench.store import RunStore, write_text_atomically
from tbrm_bench.tasks import load_task

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row's score on one task, in [0, 1]; counts and clusters by problem id, none where only a score is known."""

    score: float
    se: float
    k: int
    num_problems: int
    correct: Mapping[str, int] = field(default_factory=dict)
    cluster: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a board."""

    name: str
    kind: Literal["measured", "reported"]
    tasks: Mapping[str, TaskRow]
    about: Mapping[str, Any]  # lock, lock_hash, grader, model, commit, date; or source
    file: str = ""

    @property
    def score(self) -> float:
        """The unweighted mean over the tasks."""
        return sum(task.score for task in self.tasks.values()) / len(self.tasks)

    @property
    def se(self) -> float:
        """The standard error of `score`, the tasks being independent."""
        return math.sqrt(sum(task.se**2 for task in self.tasks.values())) / len(self.tasks)


def row_of_run(board: Board, run_dir: Path, name: str | None = None) -> dict[str, Any]:
    """Return the JSON of a measured row, named after the run's model unless `name` is given.

    Raises UserError that names the rule of the board which the run breaks.
    """
    with RunStore.open_reader(run_dir) as store:
        graders = [grader for grader in store.graders() if grader.startswith(board.grader)]
        if not graders:
            raise UserError(
                f"{run_dir} has verdicts by {', '.join(store.graders()) or 'nobody'}, board {board.name} asks for "
                f"{board.grader}*; grade it: tbench grade {run_dir}"
            )
        for task in board.tasks:
            _check_task(board, store, task)
        return {
            "schema": SCHEMA,
            "name": name or str(store.about.get("model")),
            "kind": "measured",
            "model": store.about.get("model"),
            "commit": store.about.get("commit"),
            "protocol": store.about.get("protocol"),
            "date": store.about.get("created"),
            "grader": graders[-1],
            "lock_hash": store.lock_hash,
            "lock": store.lock,
            "tasks": {task: _task_json(store, task, graders[-1]) for task in board.tasks},
        }


def _check_task(board: Board, store: RunStore, task: str) -> None:
    if task not in store.tasks():
        raise UserError(f"{store.run_dir} has no {task}, board {board.name} ranks {', '.join(board.tasks)}")
    if store.num_samples(task) < board.min_samples.get(task, 1):
        raise UserError(
            f"{store.run_dir} has {store.num_samples(task)} samples a problem of {task}, board {board.name} asks for "
            f"{board.min_samples[task]}; grow it: --samples {board.min_samples[task]}"
        )
    if store.num_problems(task) != load_task(task).num_rows:
        raise UserError(
            f"{store.run_dir} has {store.num_problems(task)} problems of {task}, the task has "
            f"{load_task(task).num_rows}; run it without --limit"
        )


def _task_json(store: RunStore, task: str, grader: str) -> dict[str, Any]:
    correct = {problem.key.problem_id: 0 for problem in store.problems(task)}
    num_graded = 0
    for sample in store.graded(task, grader):
        num_graded += sample.status is not None
        correct[sample.key.problem_id] += sample.status is Status.CORRECT
    k = store.num_samples(task)
    if num_graded < k * len(correct):
        raise UserError(
            f"{store.run_dir}: {num_graded} of {k * len(correct)} samples of {task} have a verdict; finish the run"
        )
    return {
        "k": k,
        "correct": correct,
        "cluster": {problem.key.problem_id: problem.cluster for problem in store.problems(task)},
    }


def add_row(board: Board, content: Mapping[str, Any]) -> Path:
    """Write a measured row; raises UserError if it does not agree with the rows that are there, by the field."""
    file = board.rows_dir / f"{slug(str(content['name']))}.json"
    if file.exists():
        raise UserError(
            f"board {board.name} has a row {content['name']!r} already ({file}); remove it or choose --name"
        )
    wanted = agreed_fields(board, content["lock"])
    for row in read_rows(board):
        if row.kind == "measured":
            for name, value in agreed_fields(board, row.about["lock"]).items():
                if value != wanted[name]:
                    raise UserError(
                        f"{content['name']} is not comparable with {row.name} on board {board.name}: {name} is "
                        f"{json.dumps(wanted[name])[:60]}, there {json.dumps(value)[:60]}; run it alike"
                    )
    read_row(board, content, str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return file


def read_rows(board: Board) -> list[Row]:
    """Return all rows of a board, best first."""
    rows = []
    for file in sorted(board.rows_dir.glob("*.json")):
        try:
            rows.append(read_row(board, json.loads(file.read_text(encoding="utf-8")), file.name))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read as JSON: {error}") from error
    return sorted(rows, key=lambda row: (-row.score, row.name))


def read_row(board: Board, content: Any, file: str) -> Row:
    """Return a row; raises UserError that says what is wrong with its JSON."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else content
        raise UserError(f"{file} has schema {str(found)[:40]!r}, this version reads {SCHEMA}")
    kind, tasks = content.get("kind"), content.get("tasks")
    if kind not in ("measured", "reported") or not isinstance(tasks, dict) or not isinstance(content.get("name"), str):
        raise UserError(f"{file} is no row: it needs name, kind (measured or reported) and tasks")
    if set(tasks) != set(board.tasks):
        raise UserError(f"{file} has the tasks {', '.join(tasks)}, board {board.name} ranks {', '.join(board.tasks)}")
    if kind == "reported" and not (content.get("source") or {}).get("url"):
        raise UserError(f"{file} reports scores without a source.url; say where they stand")
    read = _measured if kind == "measured" else _reported
    try:
        scores = {task: read(task, tasks[task]) for task in board.tasks}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{file} has a task that cannot be read: {error!r}") from error
    about = {key: value for key, value in content.items() if key not in ("schema", "name", "kind", "tasks")}
    return Row(content["name"], kind, scores, about, file)


def _measured(task: str, values: Mapping[str, Any]) -> TaskRow:
    k, correct, cluster = int(values["k"]), values["correct"], values["cluster"]
    if set(correct) != set(cluster) or not all(0 <= count <= k for count in correct.values()):
        raise ValueError(f"counts of {task} are not between 0 and {k}, or lack a cluster")
    means = [count / k for count in correct.values()]
    labels = [cluster[name] for name in correct]
    se = float(clustered_standard_error(means, labels))
    return TaskRow(float(np.mean(means)), se, k, len(means), correct, cluster)


def _reported(task: str, values: Mapping[str, Any]) -> TaskRow:
    score, num_problems = float(values["score"]), int(values.get("num_problems", load_task(task).num_rows))
    if not 0 <= score <= 1:
        raise ValueError(f"the score of {task} is {score}, not between 0 and 1")
    # Means of problems lie in [0, 1], so their variance is at most p (1 - p): an upper bound on what is not reported.
    return TaskRow(score, math.sqrt(score * (1 - score) / num_problems), 0, num_problems)


def slug(name: str) -> str:
    """Return a file name for a row's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "row"
