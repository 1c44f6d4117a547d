"""Verdicts beside a generating engine: what is easy is decided at once, the rest in processes that can be killed.

    with GraderPool(num_workers=1) as pool:
        pool.submit(key, "... \\\\boxed{\\\\sqrt{12}}", Gold(("2\\\\sqrt{3}",)), "stop")
        pool.drain(wait=True)    # [(key, Grade(Status.CORRECT, "\\\\sqrt{12}", "numeric"))]

Extraction and the fast rules run in the calling thread, in time linear in the text. Only what they leave undecided goes
to a worker, in order of arrival; workers start with the first such answer. Results are cached by (gold, answer).
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from tbrm_bench.grading.equivalence import Question, Undecided, decide_fast
from tbrm_bench.grading.extract import extract
from tbrm_bench.grading.process import Answer, WorkerProcess
from tbrm_bench.grading.verdicts import grade_of, grade_without_answer
from tbrm_bench.records import FinishReason, Gold, Grade, SampleKey

MAX_CACHED = 200_000  # verdicts; the cache starts anew beyond


class GraderPool:
    """Grades samples in order of arrival; a context manager. Any thread may submit; one thread drains."""

    def __init__(
        self,
        num_workers: int = 1,
        time_limit_s: float = 5.0,
        memory_limit_mb: int = 1024,
        strict_boxed: bool = False,
    ) -> None:
        """Start nothing yet. The limits hold for one verdict: processor seconds, megabytes of its process."""
        self.strict_boxed = strict_boxed
        self._workers = Workers(num_workers, time_limit_s=time_limit_s, memory_limit_mb=memory_limit_mb)
        self._done: SimpleQueue[tuple[SampleKey, Grade]] = SimpleQueue()
        self._cache: dict[tuple[Gold, str], tuple[bool | None, str] | Future[Answer]] = {}
        self._lock = threading.Lock()
        self._num_submitted = 0
        self._num_drained = 0

    @property
    def num_pending(self) -> int:
        """Samples submitted whose verdict was not drained yet."""
        return self._num_submitted - self._num_drained

    def submit(self, key: SampleKey, text: str, gold: Gold, finish_reason: FinishReason) -> None:
        """Take one completion; its verdict comes out of `drain`."""
        with self._lock:
            self._num_submitted += 1
        found = extract(text, finish_reason=finish_reason, strict_boxed=self.strict_boxed)
        if found.answer is None:
            self._done.put((key, grade_without_answer(found, finish_reason)))
            return
        answer = found.answer
        result = self._result(gold, answer)
        if isinstance(result, Future):
            result.add_done_callback(lambda done: self._finish(key, answer, done))
        else:
            self._done.put((key, grade_of(answer, *result)))

    def drain(self, *, wait: bool = False) -> list[tuple[SampleKey, Grade]]:
        """Return the verdicts that are there, in the order in which they were reached; with `wait`, all of them."""
        verdicts: list[tuple[SampleKey, Grade]] = []
        while self.num_pending:
            try:
                verdicts.append(self._done.get(block=wait))
            except Empty:
                break
            self._num_drained += 1
        return verdicts

    def vote_classes(self, answers: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return for each problem the class of each of its answers; mathematically equal answers share a class."""
        from tbrm_bench.grading.votes import classify

        return [classify(row, self._workers.ask) for row in answers]

    def close(self) -> None:
        """Kill the workers; verdicts not drained are lost."""
        self._workers.close()

    def __enter__(self) -> Self:
        """Return the pool; nothing starts before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _finish(self, key: SampleKey, answer: str, done: "Future[Answer]") -> None:
        if done.cancelled():
            return
        failure = done.exception()
        verdict = done.result() if failure is None else Answer(None, f"exception:{type(failure).__name__}")
        self._done.put((key, grade_of(answer, *verdict)))

    def _result(self, gold: Gold, answer: str) -> tuple[bool | None, str] | Future[Answer]:
        cached = self._cache.get((gold, answer))
        if cached is not None:
            return cached
        verdict = decide_fast(answer, gold)
        result = self._workers.submit(verdict.question) if isinstance(verdict, Undecided) else verdict
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[gold, answer] = result
        return result


class Workers:
    """Worker processes behind one queue: one thread holds one process."""

    def __init__(self, num_workers: int, *, time_limit_s: float, memory_limit_mb: int) -> None:
        """Start nothing yet."""
        assert num_workers >= 1
        self._limits = {"time_limit_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="tbrm-grader")
        self._of_thread = threading.local()
        self._processes: list[WorkerProcess] = []

    def submit(self, question: Question) -> "Future[Answer]":
        """Queue a question."""
        return self._threads.submit(self._ask, question)

    def ask(self, question: Question) -> Answer:
        """Ask and wait."""
        return self.submit(question).result()

    def close(self) -> None:
        """Kill the processes and drop the questions that still wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.close()
        self._threads.shutdown(wait=True)

    def _ask(self, question: Question) -> Answer:
        process: WorkerProcess | None = getattr(self._of_thread, "process", None)
        if process is None:
            process = WorkerProcess(
                time_limit_s=float(self._limits["time_limit_s"]), memory_limit_mb=int(self._limits["memory_limit_mb"])
            )
            self._of_thread.process = process
            self._processes.append(process)
        return process.ask(question.request, symbolic=question.symbolic)
