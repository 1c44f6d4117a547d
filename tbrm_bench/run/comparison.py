"""Two runs on the same questions: is the second model better, and how sure is that?

Runs are comparable when their locks agree in everything but the model's weights and the seed: rows, prompts, stops,
sampling, token cap, engine, its version, dtype. Else each differing field is named and the comparison refused, or made
all the same and labelled, when the caller insists. docs/compare.md defines every number.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.metrics.paired import (
    FloatArray,
    PairedDifference,
    cluster_shares,
    holm,
    macro_difference,
    paired_difference,
)
from tbrm_bench.records import Status
from tbrm_bench.store import RunStore, diff_locks
from tbrm_bench.store.run_file import in_one_version

# Fields of a lock that two comparable runs may differ in: what is compared, and which answers were drawn.
FREE_FIELDS = ("model.", "seed")


@dataclass(frozen=True, slots=True)
class TaskScores:
    """Mean score and cluster of each problem of a task, by problem id, in the order of the run."""

    scores: Mapping[str, float]
    clusters: Mapping[str, str]
    num_samples: int


@dataclass(frozen=True, slots=True)
class GradedRun:
    """What a comparison needs of a run: its scores by task, under one grader."""

    name: str
    grader: str
    lock: Mapping[str, Any]
    tasks: Mapping[str, TaskScores]


@dataclass(frozen=True, slots=True)
class ComparedTask:
    """One task, or the mean over all, in one comparison; scores in [0, 1], `p_holm` over all of its kind."""

    task: str
    num_problems: int
    k_base: int
    k_other: int
    base: float
    other: float
    difference: PairedDifference
    num_better: int  # problems on which the other run scores higher
    num_worse: int
    p_holm: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run beside the first one; `differences` are the lock's fields that should agree and do not."""

    base: str
    other: str
    rows: tuple[ComparedTask, ...]
    macro: ComparedTask
    differences: tuple[tuple[str, Any, Any], ...]
    only_in_one: tuple[str, ...]  # tasks that one of the two runs lacks

    def as_json(self) -> dict[str, Any]:
        """Return plain values; NaN becomes None."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def compare_runs(run_dirs: Sequence[Path], *, anyway: bool = False) -> list[Comparison]:
    """Compare every run with the first.

    Raises UserError for runs that are not comparable (unless `anyway`), incomplete, graded by different graders or
    without a common task.
    """
    if len(run_dirs) < 2:
        raise UserError(f"{len(run_dirs)} run is given, but two are needed; name the base run first")
    base, *others = [read_run(run_dir) for run_dir in run_dirs]
    return adjusted([_compare(base, other, anyway=anyway) for other in others])


def read_run(run_dir: Path) -> GradedRun:
    """Return the scores of a run under the grader that was used last; raises UserError if any verdict is missing."""
    with RunStore.open_reader(run_dir) as store:
        grader = store.last_grader()
        if grader is None:
            raise UserError(f"{run_dir} holds no verdicts; finish the run or grade it: tbench grade {run_dir}")
        tasks = {task: _task_scores(store, task, grader) for task in store.tasks()}
        return GradedRun(run_dir.name, grader, store.lock, tasks)


def _task_scores(store: RunStore, task: str, grader: str) -> TaskScores:
    k = store.num_samples(task)
    correct = {problem.key.problem_id: 0 for problem in store.problems(task)}
    num_graded = 0
    for sample in store.graded(task, grader):
        num_graded += sample.status is not None
        correct[sample.key.problem_id] += sample.status is Status.CORRECT
    if num_graded < k * len(correct):
        raise UserError(
            f"{store.run_dir}: {num_graded} of {k * len(correct)} samples of {task} have a verdict; "
            "finish the run with its own command first"
        )
    clusters = {problem.key.problem_id: problem.cluster for problem in store.problems(task)}
    return TaskScores({name: count / k for name, count in correct.items()}, clusters, k)


def lock_differences(
    base: Mapping[str, Any], other: Mapping[str, Any], tasks: Sequence[str]
) -> list[tuple[str, Any, Any]]:
    """Return the fields of two locks that must agree and do not; of tasks only those that are compared.

    Locks of two versions are compared in the fields that the older version has.
    """
    pair = ({**lock, "tasks": {task: lock["tasks"][task] for task in tasks}} for lock in (base, other))
    locks = in_one_version(*pair)
    return [field for field in diff_locks(*locks) if not field[0].startswith(FREE_FIELDS)]


def _compare(base: GradedRun, other: GradedRun, *, anyway: bool) -> Comparison:
    common = [task for task in base.tasks if task in other.tasks]
    if not common:
        raise UserError(
            f"{base.name} has the tasks {', '.join(base.tasks)}, {other.name} has {', '.join(other.tasks)}; "
            "runs without a common task cannot be compared"
        )
    if base.grader != other.grader:
        raise UserError(
            f"{base.name} was graded by {base.grader}, {other.name} by {other.grader}; grade both by one version: "
            "tbench grade RUN"
        )
    differences = lock_differences(base.lock, other.lock, common)
    if differences and not anyway:
        field, one, two = differences[0]
        more = f" and {len(differences) - 1} more fields" if len(differences) > 1 else ""
        raise UserError(
            f"{base.name} and {other.name} are not comparable: {field} is {_short(one)} in one and {_short(two)} in "
            f"the other{more}; run both the same way, or add --anyway to compare and label them"
        )
    rows, shares = [], []
    for task in common:
        row, share = _task_row(task, base.tasks[task], other.tasks[task])
        rows.append(row)
        shares.append(share)
    lacking = sorted(set(base.tasks) ^ set(other.tasks))
    return Comparison(base.name, other.name, tuple(rows), _macro_row(rows, shares), tuple(differences), tuple(lacking))


def _task_row(task: str, base: TaskScores, other: TaskScores) -> tuple[ComparedTask, FloatArray]:
    names = [name for name in base.scores if name in other.scores]
    if len(names) < max(len(base.scores), len(other.scores)):
        raise UserError(
            f"{task}: {len(base.scores)} problems in one run, {len(other.scores)} in the other, {len(names)} in both; "
            "runs are compared on the same problems: use the same --limit and rows"
        )
    a, b = ([scores.scores[name] for name in names] for scores in (base, other))
    clusters = [base.clusters[name] for name in names]
    deltas = [two - one for one, two in zip(a, b, strict=True)]
    row = ComparedTask(
        task=task,
        num_problems=len(names),
        k_base=base.num_samples,
        k_other=other.num_samples,
        base=sum(a) / len(a),
        other=sum(b) / len(b),
        difference=paired_difference(a, b, clusters),
        num_better=sum(delta > 0 for delta in deltas),
        num_worse=sum(delta < 0 for delta in deltas),
        p_holm=float("nan"),
    )
    return row, cluster_shares(deltas, clusters)


def _macro_row(rows: Sequence[ComparedTask], shares: Sequence[FloatArray]) -> ComparedTask:
    return ComparedTask(
        task=f"mean of {len(rows)} tasks",
        num_problems=sum(row.num_problems for row in rows),
        k_base=0,
        k_other=0,
        base=sum(row.base for row in rows) / len(rows),
        other=sum(row.other for row in rows) / len(rows),
        difference=macro_difference([row.difference for row in rows], shares),
        num_better=sum(row.num_better for row in rows),
        num_worse=sum(row.num_worse for row in rows),
        p_holm=float("nan"),
    )


def adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with Holm's p-values: tasks against tasks, means against means, over all comparisons."""
    rows = [row for comparison in comparisons for row in comparison.rows]
    tasks = iter(holm([row.difference.p_value for row in rows]))
    macros = iter(holm([comparison.macro.difference.p_value for comparison in comparisons]))
    return [
        replace(
            comparison,
            rows=tuple(replace(row, p_holm=float(next(tasks))) for row in comparison.rows),
            macro=replace(comparison.macro, p_holm=float(next(macros))),
        )
        for comparison in comparisons
    ]


def verdict(row: ComparedTask, *, level: float = 0.05) -> str:
    """Return "better", "worse" or "cannot tell", of the other run, by Holm's p-value."""
    if not row.p_holm < level:
        return "cannot tell"
    return "better" if row.difference.mean > 0 else "worse"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
