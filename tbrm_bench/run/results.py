"""results.json, and whether it says what the store holds: the one place where that is decided.

A results.json is current if it is of this run's lock, of the grader that was used last, of the targets and counts of
the store, and its proof fits the stored verdicts and its own scores: so neither a run that was resumed, nor a
database that was put back, nor a number changed by hand passes, whatever the times of the files are. A file without a
proof, which earlier versions wrote, is current if computing the scores again gives the same ones.

    result, note = shown_result(Path("runs/mine"))      what the store says, and why results.json was passed over
    text, result = current_results(Path("runs/mine"))   the file, or a UserError that says what it disagrees about
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text
from tbrm_bench.grading import GraderPool
from tbrm_bench.grading.grader_names import stored_name
from tbrm_bench.records import RunResult, TaskScore
from tbrm_bench.run.result_json import proof_of, result_from_json, result_to_json
from tbrm_bench.run.score import described, score_run, stored_evidence
from tbrm_bench.store import RunStore
from tbrm_bench.store.run_dir import DATABASE, RESULTS, RUN_JSON, has_results, has_samples, is_run
from tbrm_bench.store.run_file import read_run_file

# What a result is called after; the rest of `about` may be edited by hand.
NAMED = ("model", "commit", "protocol")
WAY_OUT = "run `tbench grade` on the run, or finish it with `tbench eval`"
# Two versions of a numerical library may differ in the last digits.
REL_TOLERANCE, ABS_TOLERANCE = 1e-9, 1e-12


def shown_result(run_dir: Path) -> tuple[RunResult, str | None]:
    """Return a run's scores, and what a person should know of where they come from (None: nothing).

    They are those of results.json if it is current, else computed from the stored verdicts. Of a folder that has lost
    its samples they are those of results.json, which nothing can then check. Raises UserError if there is neither.
    """
    if not has_samples(run_dir):
        return _results_alone(run_dir)
    with RunStore.open_reader(run_dir) as store:
        if not has_results(run_dir):
            return _computed(store), None
        try:
            result = read_results(run_dir)
        except UserError as error:
            return _computed(store), f"{error}; shown is what the stored verdicts give"
        if _is_proved(result, store):
            return result, None
        computed = _computed(store)
        reason = _disagreement(result, store, computed)
    if reason is None:
        return result, None
    return computed, f"{run_dir / RESULTS} is not current: {reason}; shown is what the stored verdicts give"


def current_results(run_dir: Path) -> tuple[str, RunResult]:
    """Return results.json, as text and read; raises UserError if it is missing, broken or not current."""
    if not has_samples(run_dir):
        read_run_file(run_dir)
        raise UserError(f"{run_dir} holds no {DATABASE}, so {RESULTS} cannot be checked: start the run first")
    with RunStore.open_reader(run_dir) as store:
        if not has_results(run_dir):
            raise UserError(f"{run_dir} holds no {RESULTS}: it was not graded to the end; {WAY_OUT}")
        text, result = _read(run_dir / RESULTS)
        if not _is_proved(result, store) and (reason := _disagreement(result, store, None)):
            raise UserError(f"{run_dir / RESULTS} is not current: {reason}; {WAY_OUT}")
    return text, result


def is_complete(run_dir: Path) -> bool:
    """Return whether a run is complete and has a current results.json."""
    try:
        _, result = current_results(run_dir)
    except UserError:
        return False
    return not any(task.num_missing or task.num_ungraded for task in result.tasks)


def read_results(run_dir: Path) -> RunResult:
    """Read results.json; raises UserError that names the file if it is not a results.json of this version."""
    return _read(run_dir / RESULTS)[1]


def _read(file: Path) -> tuple[str, RunResult]:
    try:
        text = read_text(file)
    except UserError as error:
        raise UserError(f"{error}; {WAY_OUT}") from error
    return text, result_from_json(text, place=str(file))


def _results_alone(run_dir: Path) -> tuple[RunResult, str]:
    if not has_results(run_dir):
        raise UserError(f"{run_dir} holds neither {RESULTS} nor {DATABASE}; give a run directory of `tbench eval`")
    result = read_results(run_dir)
    if is_run(run_dir) and (reason := _lock_disagreement(result, read_run_file(run_dir).lock_hash)):
        raise UserError(f"{run_dir / RESULTS} is not of this run: {reason}; it holds no {DATABASE} to score anew")
    return result, f"{run_dir} holds no {DATABASE}: {RESULTS} is shown as it is, nothing can check it"


def _computed(store: RunStore) -> RunResult:
    with GraderPool() as pool:
        return score_run(store, grader=_grader(store), vote_classes=pool.vote_classes)


def _grader(store: RunStore) -> str:
    return store.last_grader() or stored_name(store.about)


def _is_proved(result: RunResult, store: RunStore) -> bool:
    """Whether the scores were computed from exactly what the store holds under the grader that was used last."""
    if not result.proof or _other_origin(result, store):
        return False
    return result.proof == proof_of(result, stored_evidence(store, result.grader))


def _disagreement(result: RunResult, store: RunStore, computed: RunResult | None) -> str | None:
    """Return the first thing that a results.json without a fitting proof and the store disagree about, else None.

    `computed` is what the store gives, if the caller knows it already.
    """
    if reason := _other_origin(result, store):
        return reason
    theirs, ours = [score.task for score in result.tasks], store.tasks()
    if theirs != ours:
        return f"it has the tasks {', '.join(theirs)}, the run has {', '.join(ours)}"
    computed = computed or _computed(store)
    for one, other in zip(result.tasks, computed.tasks, strict=True):
        if reason := _task_disagreement(one, other):
            return reason
    same = _is_close(*(json.loads(result_to_json(one))["macro"] for one in (result, computed)))
    return None if same else "its mean over the tasks is not that of their scores"


def _other_origin(result: RunResult, store: RunStore) -> str | None:
    if reason := _lock_disagreement(result, store.lock_hash):
        return reason
    if result.grader != _grader(store):
        return f"its grader is {result.grader}, the one used last is {_grader(store)}"
    about = described(store, result.grader)
    for name in NAMED:
        if result.about.get(name) != about.get(name):
            return f"its {name} is {result.about.get(name)}, the run's is {about.get(name)}"
    return None


def _lock_disagreement(result: RunResult, lock_hash: str) -> str | None:
    if result.lock_hash == lock_hash:
        return None
    return f"it is of another run: its lock is {result.lock_hash[:12]}, {RUN_JSON} has {lock_hash[:12]}"


def _task_disagreement(theirs: TaskScore, ours: TaskScore) -> str | None:
    """Compare the task of a file with what the store gives; counts first, since they say what happened."""
    names = [name for name in TaskScore.__slots__ if name != "task"]
    for name in sorted(names, key=lambda name: not name.startswith("num_")):
        one, other = getattr(theirs, name), getattr(ours, name)
        if not _is_close(one, other):
            shown = f"{one}, from the stored verdicts it is {other}" if isinstance(one, int | float) else "another"
            return f"{name} of {theirs.task} is {shown}"
    return None


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_close(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        both_undefined = math.isnan(one) and math.isnan(other)
        return both_undefined or math.isclose(one, other, rel_tol=REL_TOLERANCE, abs_tol=ABS_TOLERANCE)
    return bool(one == other)
