"""Grades in, scores out: one pass over the stored samples of each task, then the mean over the tasks.

    store --GradedSample--> one tally per problem --metrics--> TaskScore, MacroScore, RunResult --> results.json

Memory holds a few counters and the distinct final answers of each problem, never a completion, so that it does not grow
with the length of the samples. docs/metrics.md defines every number.

Example: a task of two problems, k = 2, verdicts (correct, wrong) and (wrong, wrong) has avg@2 = 0.25, pass@2 = 0.5.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tbrm_bench.grading.grader_names import is_strict_boxed
from tbrm_bench.grading.verdicts import counted_as
from tbrm_bench.metrics.intervals import (
    clustered_standard_error,
    confidence_interval,
    macro_interval,
    macro_mean,
    macro_standard_error,
    sampling_sd,
)
from tbrm_bench.metrics.passk import pass_at_k_curve
from tbrm_bench.metrics.votes import majority_score
from tbrm_bench.records import GradedSample, MacroScore, RunResult, Status, TaskScore
from tbrm_bench.run.result_json import proof_of
from tbrm_bench.store import RunStore

NAN = float("nan")
VoteClasses = Callable[[Sequence[Sequence[str]]], Sequence[Sequence[int]]]


@dataclasses.dataclass(slots=True)
class _ProblemTally:
    """What is stored of the samples of one problem."""

    seen: int = 0  # bit i is set when sample i was read
    num_correct: int = 0
    answers: dict[str, list[int]] = dataclasses.field(default_factory=dict)  # answer -> [votes, of these correct]


@dataclasses.dataclass(slots=True)
class _TaskTally:
    """What is kept of the samples of one task, whatever their problem."""

    problems: dict[str, _ProblemTally]
    num_stored: int = 0
    num_capped: int = 0
    num_tokens: int = 0
    max_tokens: int = 0
    statuses: Counter[Status | None] = dataclasses.field(default_factory=Counter)


def score_run(store: RunStore, *, grader: str, vote_classes: VoteClasses) -> RunResult:
    """Score every task of a run by the stored grades of `grader`; samples without one count as ungraded.

    `vote_classes` gets the distinct answers of each problem and returns, in the same order, the class of each answer;
    mathematically equal answers share a class.
    """
    evidence = _Evidence()
    scores = []
    for task in store.tasks():
        clusters, k = _clusters(store, task), store.num_samples(task)
        graded = evidence.of_task(task, clusters, k, store.graded(task, grader))
        scores.append(score_task(task, clusters=clusters, num_samples=k, graded=graded, vote_classes=vote_classes))
    result = RunResult(
        name=store.run_dir.name,
        lock_hash=store.lock_hash,
        grader=grader,
        tasks=tuple(scores),
        macro=macro_score(scores),
        about=described(store, grader),
    )
    return dataclasses.replace(result, proof=proof_of(result, evidence.digest()))


def stored_evidence(store: RunStore, grader: str) -> str:
    """Return the digest of all that `score_run` would compute its scores from, without computing them."""
    evidence = _Evidence()
    for task in store.tasks():
        for _ in evidence.of_task(task, _clusters(store, task), store.num_samples(task), store.graded(task, grader)):
            pass
    return evidence.digest()


class _Evidence:
    """A digest over targets, problems and graded samples, taken while they pass by in the order of their keys."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def of_task(
        self, task: str, clusters: Mapping[str, str], num_samples: int, graded: Iterable[GradedSample]
    ) -> Iterator[GradedSample]:
        self._add(task, sorted(clusters.items()), num_samples)
        for sample in graded:
            self._add(*sample.key[1:], _counted(sample), sample.extracted, sample.finish_reason, sample.num_tokens)
            yield sample

    def _add(self, *values: object) -> None:
        self._hash.update(json.dumps(values).encode())  # ASCII, also for lone surrogates

    def digest(self) -> str:
        return self._hash.hexdigest()


def _counted(sample: GradedSample) -> Status | None:
    return None if sample.status is None else counted_as(sample.status, sample.rule)


def _clusters(store: RunStore, task: str) -> dict[str, str]:
    return {problem.key.problem_id: problem.cluster for problem in store.problems(task)}


def described(store: RunStore, grader: str) -> dict[str, Any]:
    """Return what describes the run, as it was graded last."""
    about = dict(store.about)
    return about | {"strict_boxed": is_strict_boxed(grader)} if "strict_boxed" in about else about


def score_task(
    task: str,
    *,
    clusters: Mapping[str, str],
    num_samples: int,
    graded: Iterable[GradedSample],
    vote_classes: VoteClasses,
) -> TaskScore:
    """Score one task from its samples, in any order; `graded` is read once, as a stream.

    `clusters` names every problem of the task (problem id -> cluster), `num_samples` is k, the target for each. When a
    sample is missing or ungraded every score is NaN. Raises ValueError for a sample that cannot be of this task: an
    unknown problem, a sample index outside 0 .. k - 1, a sample that came twice.
    """
    tally = _count(task, clusters, num_samples, graded)
    num_expected = len(clusters) * num_samples
    num_missing = num_expected - tally.num_stored
    num_ungraded = tally.statuses[None]
    incomplete = _undefined_score(
        task, clusters, num_samples, num_missing=num_missing, num_ungraded=num_ungraded, max_tokens=tally.max_tokens
    )
    if num_missing or num_ungraded or not num_expected:
        return incomplete
    codes = np.unique(list(clusters.values()), return_inverse=True)[1]
    n = np.full(len(clusters), num_samples)
    c = np.array([problem.num_correct for problem in tally.problems.values()])
    curve = pass_at_k_curve(n, c, max_k=num_samples)  # (questions, k)
    pass_at, pass_at_se = curve.mean(axis=0), clustered_standard_error(curve, codes)
    votes = _majority_scores(tally, vote_classes)
    avg, se = float(pass_at[0]), float(pass_at_se[0])
    low, high = confidence_interval(avg, se, num_clusters=incomplete.num_clusters)
    return dataclasses.replace(
        incomplete,
        avg=avg,
        se=se,
        ci_low=low,
        ci_high=high,
        sampling_sd=sampling_sd(n, c),
        pass_at={k: float(value) for k, value in enumerate(pass_at, start=1)},
        pass_at_se={k: float(value) for k, value in enumerate(pass_at_se, start=1)},
        maj=float(votes.mean()),
        maj_se=float(clustered_standard_error(votes, codes)),
        status_rates={status: tally.statuses[status] / num_expected for status in Status},
        cap_rate=tally.num_capped / num_expected,
        mean_tokens=tally.num_tokens / num_expected,
    )


def macro_score(scores: Sequence[TaskScore]) -> MacroScore:
    """Return the unweighted mean over the tasks; pass@k for every k up to the smallest number of samples of a task."""
    low, high = macro_interval(
        [score.avg for score in scores], [score.ci_low for score in scores], [score.ci_high for score in scores]
    )
    smallest_k = min((score.num_samples for score in scores), default=0)
    return MacroScore(
        avg=macro_mean([score.avg for score in scores]),
        se=macro_standard_error([score.se for score in scores]),
        ci_low=low,
        ci_high=high,
        pass_at={k: macro_mean([score.pass_at[k] for score in scores]) for k in range(1, smallest_k + 1)},
        maj=macro_mean([score.maj for score in scores]),
    )


def _count(task: str, clusters: Mapping[str, str], num_samples: int, graded: Iterable[GradedSample]) -> _TaskTally:
    tally = _TaskTally({problem_id: _ProblemTally() for problem_id in clusters})
    for sample in graded:
        problem, index = tally.problems.get(sample.key.problem_id), sample.key.sample_index
        if problem is None or sample.key.task != task or not 0 <= index < num_samples or problem.seen >> index & 1:
            raise ValueError(
                f"{sample.key} is not one of the {num_samples} samples of a problem of {task}, or repeated"
            )
        problem.seen |= 1 << index
        tally.num_stored += 1
        tally.num_capped += sample.finish_reason == "length"
        tally.num_tokens += sample.num_tokens
        tally.max_tokens = max(tally.max_tokens, sample.num_tokens)
        tally.statuses[_counted(sample)] += 1
        correct = sample.status is Status.CORRECT
        problem.num_correct += correct
        if sample.extracted is not None:
            votes = problem.answers.setdefault(sample.extracted, [0, 0])
            votes[0] += 1
            votes[1] += correct
    return tally


def _majority_scores(tally: _TaskTally, vote_classes: VoteClasses) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return maj@k of each question, shape (questions,)."""
    # Sorted, the most frequent first, so that the order of the samples cannot reach the classes.
    answers = [_by_votes(problem.answers) for problem in tally.problems.values()]
    scores = []
    for problem, names, classes in zip(tally.problems.values(), answers, vote_classes(answers), strict=True):
        totals: dict[int, list[int]] = {}
        for name, label in zip(names, classes, strict=True):
            total = totals.setdefault(label, [0, 0])
            total[0] += problem.answers[name][0]
            total[1] += problem.answers[name][1]
        scores.append(majority_score([v for v, _ in totals.values()], [c for _, c in totals.values()]))
    return np.array(scores, np.float64)


def _by_votes(answers: Mapping[str, Sequence[int]]) -> list[str]:
    return sorted(answers, key=lambda answer: (-answers[answer][0], answer))


def _undefined_score(
    task: str, clusters: Mapping[str, str], num_samples: int, *, num_missing: int, num_ungraded: int, max_tokens: int
) -> TaskScore:
    ks = range(1, num_samples + 1)
    return TaskScore(
        task=task,
        num_problems=len(clusters),
        num_clusters=len(set(clusters.values())),
        num_samples=num_samples,
        num_missing=num_missing,
        num_ungraded=num_ungraded,
        avg=NAN,
        se=NAN,
        ci_low=NAN,
        ci_high=NAN,
        sampling_sd=NAN,
        pass_at=dict.fromkeys(ks, NAN),
        pass_at_se=dict.fromkeys(ks, NAN),
        maj=NAN,
        maj_se=NAN,
        status_rates=dict.fromkeys(Status, NAN),
        cap_rate=NAN,
        mean_tokens=NAN,
        max_tokens=max_tokens,
    )
