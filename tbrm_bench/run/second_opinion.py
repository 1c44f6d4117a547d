"""A stored run, judged by a second grader; where the two disagree, a person should look.

    tbench grade RUN --second math-verify  ->  RUN/disagreements.jsonl, one object per sample:
    {"task": "math500", "problem_id": "12", "sample_index": 3, "gold": ["\\\\frac12"],
     "ours": {"status": "correct", "rule": "rational", "extracted": "0.5", "answer_form": "1/2", "gold_form": "1/2"},
     "second": {"status": "wrong", ...}, "tail": "... so it is \\\\boxed{0.5}."}

The second grader sees the whole completion and extracts for itself, in worker processes that can be killed. Its
verdicts are stored as `second/NAME-VERSION`, beside ours and under a name that no score is computed from.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from tbrm_bench.errors import UserError
from tbrm_bench.files import whole_file
from tbrm_bench.grading import explain
from tbrm_bench.grading.equal.equivalence import Answer, Question
from tbrm_bench.grading.explain import form_of, form_of_gold
from tbrm_bench.grading.grader_names import is_strict_boxed, policy_of, stored_name
from tbrm_bench.grading.second import GRADERS, name_and_version
from tbrm_bench.grading.verdicts import grade_of
from tbrm_bench.grading.workers.queue import Workers
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import Gold, Grade, Sample, SampleKey, Status
from tbrm_bench.store import RunStore
from tbrm_bench.store.run_dir import DISAGREEMENTS
from tbrm_bench.store.run_store import OPINION
from tbrm_bench.store.schema import database_errors

TAIL_CHARS = 300
MAX_AHEAD = 256
BATCH = 256
TIME_LIMIT_S = 5.0
MEMORY_LIMIT_MB = 2048  # as others need it
Tell = Callable[[int, int], None]


@dataclass(slots=True)
class TaskAgreement:
    """How often two graders agree on the samples of a task; a second one that fails counts apart, not as wrong."""

    task: str
    num_samples: int = 0
    both_correct: int = 0
    neither_correct: int = 0
    only_ours: int = 0  # correct by ours, not by the second
    only_second: int = 0
    num_failed: int = 0  # one of the two has no verdict

    @property
    def agreement(self) -> float:
        """Share of samples with a verdict of both on which they agree; NaN without any."""
        judged = self.num_samples - self.num_failed
        return (self.both_correct + self.neither_correct) / judged if judged else float("nan")

    def count(self, ours: Grade, second: Grade) -> bool:
        """Count one sample; return whether a person should look at it."""
        self.num_samples += 1
        if not (_is_verdict(ours) and _is_verdict(second)):
            self.num_failed += 1
            return True
        match ours.status is Status.CORRECT, second.status is Status.CORRECT:
            case True, True:
                self.both_correct += 1
            case False, False:
                self.neither_correct += 1
            case True, False:
                self.only_ours += 1
            case _:
                self.only_second += 1
        return (ours.status is Status.CORRECT) != (second.status is Status.CORRECT)

    def as_json(self) -> dict[str, Any]:
        """Return the counts and the share."""
        return asdict(self) | {"agreement": self.agreement if self.num_samples > self.num_failed else None}


def total(tasks: list[TaskAgreement]) -> TaskAgreement:
    """Return the sum over the tasks."""
    names = [name for name in TaskAgreement.__slots__ if name != "task"]
    return TaskAgreement("all", **{name: sum(getattr(task, name) for task in tasks) for name in names})


def ask_second(
    run_dir: Path, second: str, *, num_workers: int = 1, tell: Tell = lambda num_done, num_total: None
) -> tuple[Path, list[TaskAgreement]]:
    """Judge every graded sample again, store the verdicts, and return the file of disagreements and counts by task.

    `tell` is called with the number of samples judged so far and of all.
    Raises UserError for an unknown grader and for a run without verdicts of ours, RunFailed if another process writes
    to the run.
    """
    if second not in GRADERS:
        raise UserError(f"no grader {second!r}; {did_you_mean(second, GRADERS)}")
    workers = Workers(num_workers, time_limit_s=TIME_LIMIT_S, memory_limit_mb=MEMORY_LIMIT_MB)
    file = run_dir / DISAGREEMENTS
    try:
        with RunStore.open_grader(run_dir) as store, database_errors(run_dir):
            grader = store.last_grader()
            if grader is None:
                raise UserError(f"{run_dir} holds no verdicts yet; grade it first: tbench grade {run_dir}")
            with whole_file(file) as rows:
                tasks = _judge_all(store, grader, second, workers, rows, tell)
    finally:
        workers.close()
    return file, tasks


def _judge_all(
    store: RunStore, grader: str, second: str, workers: Workers, disagreements: TextIO, tell: Tell
) -> list[TaskAgreement]:
    grades = dict(store.grades(grader))
    golds = {problem.key: problem.gold for problem in store.problems()}
    tasks: dict[str, TaskAgreement] = {}
    unstored: list[tuple[SampleKey, Grade]] = []
    name = OPINION + name_and_version(second)
    num_total = store.count_samples()
    tell(0, num_total)
    for num_done, (sample, gold, answer) in enumerate(_judged(store, golds, second, workers), start=1):
        tell(num_done, num_total)
        grade = _grade_of(answer)
        unstored.append((sample.key, grade))
        if len(unstored) >= BATCH:
            store.add_grades(unstored, name)
            unstored.clear()
        ours = grades.get(sample.key)
        if ours is not None and tasks.setdefault(sample.key.task, TaskAgreement(sample.key.task)).count(ours, grade):
            disagreements.write(json.dumps(_row(sample, gold, ours, grade, answer)) + "\n")
    store.add_grades(unstored, name)
    return list(tasks.values())


def _judged(
    store: RunStore, golds: dict[Any, Gold], second: str, workers: Workers
) -> Iterator[tuple[Sample, Gold, Answer]]:
    """Yield each stored sample with the second verdict, in order, a bounded number ahead."""
    ahead: deque[tuple[Sample, Gold, Future[Answer]]] = deque()
    for sample in store.samples():
        gold, answer = golds[sample.key[:2]], Future[Answer]()
        wanted = [one.answers for one in gold.each()]  # any one of these lists
        facts = {"text": sample.text, "gold": wanted, "finish_reason": sample.finish_reason}
        question = Question({"op": "second", "name": second, **facts}, symbolic=second == "math-verify")
        workers.submit(question, answer.set_result)
        ahead.append((sample, gold, answer))
        if len(ahead) >= MAX_AHEAD:
            first, its_gold, its_answer = ahead.popleft()
            yield first, its_gold, its_answer.result()
    for first, its_gold, its_answer in ahead:
        yield first, its_gold, its_answer.result()


def _grade_of(answer: Answer) -> Grade:
    extracted = answer.detail["extracted"] if answer.detail else None
    if answer.verdict is False and extracted is None:
        return Grade(Status.NO_ANSWER, None, answer.rule)
    grade = grade_of("", answer.verdict, answer.rule)
    return Grade(grade.status, extracted, answer.rule)


def _is_verdict(grade: Grade) -> bool:
    return grade.status not in (Status.TIMEOUT, Status.ERROR)


def _row(sample: Sample, gold: Gold, ours: Grade, second: Grade, answer: Answer) -> dict[str, Any]:
    forms = {
        "answer_form": form_of(ours.extracted or ""),
        "gold_form": form_of_gold(gold),
    }
    return {
        **sample.key._asdict(),
        **_golds(gold),
        "ours": asdict(ours) | forms,
        "second": asdict(second) | dict(answer.detail or {"answer_form": "", "gold_form": ""}),
        "tail": sample.text[-TAIL_CHARS:],
    }


def _golds(gold: Gold) -> dict[str, Any]:
    alternatives = {"alternatives": list(map(list, gold.alternatives))} if gold.alternatives else {}
    return {"gold": list(gold.answers)} | alternatives


def parse_key(where: str) -> SampleKey:
    """Read TASK/PROBLEM_ID/SAMPLE_INDEX; raises UserError."""
    task, _, rest = where.partition("/")
    problem_id, slash, index = rest.rpartition("/")
    if not slash or not problem_id or not index.isdecimal():
        raise UserError(f"{where!r} is not TASK/PROBLEM_ID/SAMPLE_INDEX, for example arithmetic/L1-0003/0")
    return SampleKey(task, problem_id, int(index))


def explain_stored(run_dir: Path, key: SampleKey) -> dict[str, Any]:
    """Return the verdict on one stored sample and what led to it; raises UserError if it does not exist."""
    with RunStore.open_reader(run_dir) as store:
        sample = next(store.samples_where("task = ? AND problem_id = ? AND sample_index = ?", key), None)
        gold = next((problem.gold for problem in store.problems(key.task) if problem.key == key[:2]), None)
        last = store.last_grader()
        grader = last or stored_name(store.about)
        graders = {name: dict(store.grades(name)).get(key) for name in store.graders()}
        tasks = store.tasks()
    if sample is None or gold is None:
        hint = f"; it has the tasks {', '.join(tasks)}" if key.task not in tasks else ""
        raise UserError(f"{run_dir} holds no sample {'/'.join(map(str, key))}{hint}")
    found = explain(
        sample.text,
        gold,
        finish_reason=sample.finish_reason,
        strict_boxed=is_strict_boxed(grader),
        policy=policy_of(grader),
    )
    return {
        **key._asdict(),
        **_golds(gold),
        **asdict(found.grade),
        "source": found.source,
        "answer_form": found.answer_form,
        "gold_form": found.gold_form,
        "steps": list(found.steps),
        "stored": {name: asdict(grade) for name, grade in graders.items() if grade is not None},
        "finish_reason": sample.finish_reason,
        "tail": sample.text[-TAIL_CHARS:],
    }
