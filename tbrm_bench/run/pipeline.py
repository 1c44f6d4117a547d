"""The stages of a run, over one run directory: generate what is missing, grade what is not graded, score.

    missing keys --engine--> samples --store--> grader pool --store--> grades --score--> results.json

This process is the store's only writer. What an engine's step finishes is committed at once, then handed to the
grader; a run that is killed anywhere resumes from what is stored.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tbrm_bench.engines.finite import withhold_repeats
from tbrm_bench.files import write_text
from tbrm_bench.grading import GraderPool
from tbrm_bench.grading.grader_names import grader_name, is_strict_boxed, policy_of, stored_name
from tbrm_bench.grading.workers.scored import require_gym
from tbrm_bench.records import Grade, RunResult, Sample, SampleKey, SampleRequest, Status
from tbrm_bench.run.plan import Plan
from tbrm_bench.run.result_json import result_to_json
from tbrm_bench.run.score import score_run
from tbrm_bench.store import RunStore
from tbrm_bench.store.run_dir import RESULTS

# More than this many samples wait for a verdict: generation waits for the grader, so that memory stays flat.
MAX_PENDING_GRADES = 4096


@dataclass(slots=True)
class Progress:
    """How far a run is; counts are samples, seconds are since the engine was ready."""

    num_total: int
    num_done: int
    num_resumed: int
    stage: str = "starting"
    num_tokens: int = 0
    num_graded: int = 0
    num_correct: int = 0
    generation_started: float | None = None
    observers: list[Callable[["Progress"], None]] = field(default_factory=list)

    def enter(self, stage: str) -> None:
        """Set the stage that is shown."""
        self.stage = stage
        if stage == "generating":
            self.generation_started = time.monotonic()
        self._tell()

    def sampled(self, samples: list[Sample]) -> None:
        """Count new samples."""
        self.num_done += len(samples)
        self.num_tokens += sum(len(sample.token_ids) for sample in samples)
        self._tell()

    def graded(self, grade: Grade) -> None:
        """Count one verdict."""
        self.num_graded += 1
        self.num_correct += grade.status is Status.CORRECT

    def _tell(self) -> None:
        for observer in self.observers:
            observer(self)


def run(plan: Plan, observer: Callable[[Progress], None]) -> RunResult:
    """Complete the run directory as the plan asks and return its scores.

    Raises UserError when the directory belongs to another run or another process, RunFailed when a disk is full; what
    is stored by then stays, and the same call resumes from there.
    """
    strict, policy = plan.protocol.strict_boxed, plan.protocol.policy
    with RunStore.open_writer(plan.run_dir, lock=plan.lock, about=plan.about) as store:
        for task in plan.tasks:
            store.put_problems(task.problems, {task.name: task.num_samples})
        progress = _progress(store, observer)
        with GraderPool(num_workers=plan.grader_workers, strict_boxed=strict, policy=policy) as pool:
            grading = Grading(store, pool, grader_name(strict_boxed=strict, policy=policy), progress)
            store.start_pass(grading.grader, protocol=plan.protocol.name)
            grading.catch_up()
            if progress.num_done < progress.num_total:
                _generate(plan, store, grading, progress)
            progress.enter("grading")
            grading.collect(wait=True)
            progress.enter("scoring")
            store.end_pass()
            result = score_run(store, grader=grading.grader, vote_classes=pool.vote_classes)
    write_results(plan.run_dir, result)
    return result


def _progress(store: RunStore, observer: Callable[[Progress], None]) -> Progress:
    total = sum(store.num_samples(task) * store.num_problems(task) for task in store.tasks())
    done = store.count_samples()
    return Progress(num_total=total, num_done=done, num_resumed=done, observers=[observer])


def _generate(plan: Plan, store: RunStore, grading: "Grading", progress: Progress) -> None:
    progress.enter("loading the model")
    with plan.engine as engine:
        progress.enter("generating")
        dtype = str(engine.identity()["dtype"])
        # Closed before the engine is left, which could not give up requests any more.
        with closing(engine.generate(_requests(plan, store))) as generated:
            for samples in withhold_repeats(generated, dtype=dtype):
                store.add_samples(samples)
                progress.sampled(samples)
                for sample in samples:
                    grading.submit(sample)
                grading.collect(wait=False)


def _requests(plan: Plan, store: RunStore) -> Iterator[SampleRequest]:
    # Tasks that share an engine are neighbours, so that each is loaded once.
    for task in sorted(plan.tasks, key=lambda task: task.positions or ""):
        yield from task.requests(store.missing(task.name), plan.seed)


class Grading:
    """Samples in, grades into the store: the pool's work, kept apart from the engine's."""

    def __init__(self, store: RunStore, pool: GraderPool, grader: str, progress: Progress) -> None:
        """Read the golds once; they are small."""
        self.store = store
        self.pool = pool
        self.grader = grader
        self.progress = progress
        self.golds = {problem.key: problem.gold for problem in store.problems()}
        if any(gold.scorer for gold in self.golds.values()):
            require_gym()  # before a verdict is replaced by an error

    def submit(self, sample: Sample) -> None:
        """Submit one stored sample to the pool."""
        key = sample.key
        self.pool.submit(key, sample.text, self.golds[key[:2]], sample.finish_reason)  # type: ignore[index]

    def collect(self, *, wait: bool) -> list[tuple[SampleKey, Grade]]:
        """Store the verdicts that are ready, or all of them; return them."""
        grades = self.pool.drain(wait=wait or self.pool.num_pending > MAX_PENDING_GRADES)
        if grades:
            self.store.add_grades(grades, self.grader)
            for _, grade in grades:
                self.progress.graded(grade)
        return grades

    def catch_up(self) -> None:
        """Grade what an earlier run stored and did not grade."""
        for sample, _ in self.store.ungraded(self.grader):
            self.submit(sample)
            self.collect(wait=False)
        self.collect(wait=True)


def write_results(run_dir: Path, result: RunResult) -> None:
    """Write results.json; `results` says later whether it is still what the store holds."""
    write_text(run_dir / RESULTS, result_to_json(result))


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict that re-grading changed."""

    key: SampleKey
    before: Grade
    after: Grade


def regrade(run_dir: Path, *, num_workers: int = 1) -> tuple[RunResult, list[Change]]:
    """Grade every stored sample again, without the model; return the new scores and the verdicts that changed.

    It takes answers from boxes only if the grader used last did, and keeps its policy. Verdicts of another version of
    the grader stay in the store beside the new ones; those of the same version are replaced. Changes are reported
    against this version's verdicts, else against those of the grader used last.
    """
    with RunStore.open_grader(run_dir) as store:
        last = store.last_grader()
        asked = last or stored_name(store.about)
        strict, policy = is_strict_boxed(asked), policy_of(asked)
        grader = grader_name(strict_boxed=strict, policy=policy)
        store.start_pass(grader)
        before = dict(store.grades(grader if last is None or grader in store.graders() else last))
        progress = Progress(num_total=store.count_samples(), num_done=0, num_resumed=0)
        with GraderPool(num_workers=num_workers, strict_boxed=strict, policy=policy) as pool:
            grading = Grading(store, pool, grader, progress)
            changes: list[Change] = []
            for sample in store.samples():
                grading.submit(sample)
                changes += _changes(before, grading.collect(wait=False))
            changes += _changes(before, grading.collect(wait=True))
            store.end_pass()
            result = score_run(store, grader=grader, vote_classes=pool.vote_classes)
    write_results(run_dir, result)
    return result, sorted(changes, key=lambda change: change.key)


def _changes(before: dict[SampleKey, Grade], grades: list[tuple[SampleKey, Grade]]) -> list[Change]:
    return [
        Change(key, before[key], after) for key, after in grades if key in before and before[key].status != after.status
    ]
