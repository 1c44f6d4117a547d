"""What would another grader say? A stored run, judged twice; where the two disagree, a person should look.

    tbench grade RUN --second math-verify  ->  RUN/disagreements.jsonl, one object a sample:
    {"task": "math500", "problem_id": "12", "sample_index": 3, "gold": ["\\\\frac12"], "ours": "correct",
     "extracted": "0.5", "rule": "rational", "second": "wrong", "second_read": "[0.5, '0.5']", ...}

The second grader sees the whole completion and extracts for itself, in worker processes that can be killed. Its
verdicts are not stored and touch no score.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading import explain
from tbrm_bench.grading.equivalence import Question
from tbrm_bench.grading.pool import Workers
from tbrm_bench.grading.process import Answer
from tbrm_bench.records import Gold, Grade, Sample, SampleKey, Status
from tbrm_bench.store import RunStore, write_text_atomically
from tbrm_bench.tomlio import did_you_mean

FILE = "disagreements.jsonl"
GRADERS = ("math-verify", "exact")
TAIL_CHARS = 300
MAX_AHEAD = 256


@dataclass(slots=True)
class TaskAgreement:
    """How often two graders agree on the samples of a task; a second one that fails counts apart, not as wrong."""

    task: str
    num_samples: int = 0
    only_ours: int = 0  # correct by ours, wrong by the second
    only_second: int = 0
    num_failed: int = 0  # no verdict by the second

    @property
    def agreement(self) -> float:
        """Share of samples with a verdict of both on which they agree; NaN without any."""
        judged = self.num_samples - self.num_failed
        return 1 - (self.only_ours + self.only_second) / judged if judged else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return the counts and the share."""
        return asdict(self) | {"agreement": self.agreement if self.num_samples > self.num_failed else None}


def ask_second(run_dir: Path, second: str, *, num_workers: int = 1) -> tuple[Path, list[TaskAgreement]]:
    """Judge every graded sample again; return the file of disagreements and the counts, task by task.

    Raises UserError for an unknown grader and for a run without verdicts of this version's grader.
    """
    if second not in GRADERS:
        raise UserError(f"no grader {second!r}; {did_you_mean(second, GRADERS)}")
    tasks: dict[str, TaskAgreement] = {}
    rows: list[str] = []
    workers = Workers(num_workers, time_limit_s=5.0, memory_limit_mb=2048)
    try:
        with RunStore.open_reader(run_dir) as store:
            graders = store.graders()
            if not graders:
                raise UserError(f"{run_dir} holds no verdicts yet; grade it first: tbench grade {run_dir}")
            grades = dict(store.grades(graders[-1]))
            golds = {problem.key: problem.gold for problem in store.problems()}
            for sample, gold, answer in _judged(store, golds, second, workers):
                ours = grades.get(sample.key)
                if ours is None:
                    continue
                agreement = tasks.setdefault(sample.key.task, TaskAgreement(sample.key.task))
                if _count(agreement, ours, answer):
                    rows.append(json.dumps(_row(sample, gold, ours, answer)))
    finally:
        workers.close()
    file = run_dir / FILE
    write_text_atomically(file, "".join(f"{row}\n" for row in rows))
    return file, list(tasks.values())


def _judged(
    store: RunStore, golds: dict[Any, Gold], second: str, workers: Workers
) -> Iterator[tuple[Sample, Gold, Answer]]:
    """Yield each stored sample with the second verdict, in order, a bounded number ahead."""
    ask: Callable[[Sample, Gold], Future[Answer]] = _exact if second == "exact" else _asker(workers)
    ahead: deque[tuple[Sample, Gold, Future[Answer]]] = deque()
    for sample in store.samples():
        gold = golds[sample.key[:2]]
        ahead.append((sample, gold, ask(sample, gold)))
        if len(ahead) >= MAX_AHEAD:
            first, its_gold, answer = ahead.popleft()
            yield first, its_gold, answer.result()
    for first, its_gold, answer in ahead:
        yield first, its_gold, answer.result()


def _asker(workers: Workers) -> Callable[[Sample, Gold], "Future[Answer]"]:
    def ask(sample: Sample, gold: Gold) -> "Future[Answer]":
        request = {"op": "math_verify", "text": sample.text, "gold": list(gold.answers)}
        return workers.submit(Question(request, symbolic=True))

    return ask


def _exact(sample: Sample, gold: Gold) -> "Future[Answer]":
    """The simplest grader there is: the text of the last box is the text of the gold."""
    from tbrm_bench.grading.extract import extract

    found = extract(sample.text, finish_reason=sample.finish_reason, strict_boxed=True).answer
    answer: Future[Answer] = Future()
    answer.set_result(Answer(found == ", ".join(gold.answers), repr(found)))
    return answer


def _count(agreement: TaskAgreement, ours: Grade, answer: Answer) -> bool:
    """Count one sample; return whether a person should look at it."""
    agreement.num_samples += 1
    correct = ours.status is Status.CORRECT
    if answer.verdict is None:
        agreement.num_failed += 1
        return correct
    agreement.only_ours += correct and not answer.verdict
    agreement.only_second += answer.verdict and not correct
    return correct != answer.verdict


def _row(sample: Sample, gold: Gold, ours: Grade, answer: Answer) -> dict[str, Any]:
    found = explain(sample.text, gold, finish_reason=sample.finish_reason)
    return {
        **sample.key._asdict(),
        "gold": list(gold.answers),
        "gold_form": found.gold_form,
        "ours": ours.status,
        "extracted": ours.extracted,
        "extracted_form": found.answer_form,
        "rule": ours.rule,
        "second": {True: "correct", False: "wrong", None: "failed"}[answer.verdict],
        "second_read": answer.rule,
        "tail": sample.text[-TAIL_CHARS:],
    }


def parse_key(where: str) -> SampleKey:
    """Read TASK/PROBLEM_ID#SAMPLE_INDEX; raises UserError."""
    task, slash, rest = where.partition("/")
    problem_id, hash_sign, index = rest.rpartition("#")
    if not slash or not hash_sign or not index.isdigit():
        raise UserError(f"{where!r} is not TASK/ID#N, for example arithmetic/L1-0003#0")
    return SampleKey(task, problem_id, int(index))


def explain_stored(run_dir: Path, key: SampleKey) -> str:
    """Return the verdict on one stored sample and what led to it, line by line; raises UserError if it is not there."""
    with RunStore.open_reader(run_dir) as store:
        sample = next(store.samples_where("task = ? AND problem_id = ? AND sample_index = ?", key), None)
        gold = next((problem.gold for problem in store.problems(key.task) if problem.key == key[:2]), None)
        strict = bool(store.about.get("strict_boxed"))
    if sample is None or gold is None:
        raise UserError(f"{run_dir} holds no sample {key.task}/{key.problem_id}#{key.sample_index}")
    found = explain(sample.text, gold, finish_reason=sample.finish_reason, strict_boxed=strict)
    facts = {
        "gold": " and ".join(gold.answers),
        "read as": found.gold_form or "(not readable)",
        "answer": found.grade.extracted if found.grade.extracted is not None else "(none)",
        "found by": found.source,
        "read as ": found.answer_form or "(not readable)",
        "verdict": found.grade.status,
        "rule": found.grade.rule,
        "ended by": sample.finish_reason,
        "tail": sample.text[-TAIL_CHARS:],
    }
    return "\n".join(f"{name.strip():9} {value}" for name, value in facts.items())
