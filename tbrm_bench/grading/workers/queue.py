"""Worker processes behind one queue: a thread for each, which sends its process as many requests as take a moment.

    workers = Workers(2, time_limit_s=5.0, memory_limit_mb=1024)
    workers.ask(question)        -> Answer(verdict=True, rule="numeric")

A process is started when a request finds none idle. Workers end when nothing refers to them any more, and with the
program, which waits for none of their threads. A forked child starts over with workers of its own and never touches
those of its parent.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from tbrm_bench.grading.equal.equivalence import Answer, Question
from tbrm_bench.grading.workers.process import WorkerProcess

MAX_BATCH = 64
BATCH_S = 0.01  # a worker gets as many requests as it will answer in this time
MAX_BATCH_CHARS = 1 << 20  # of completions, which second graders are given
CLOSE_S = 5.0
Done = Callable[[Answer], None]


class ForkAware(Protocol):
    """An owner of threads, locks or processes that a fork does not copy."""

    def start_over(self) -> None:
        """Drop them."""


_fork_aware: "weakref.WeakSet[ForkAware]" = weakref.WeakSet()


def after_fork(held: ForkAware) -> None:
    """Have `held` start over in every forked child."""
    _fork_aware.add(held)


def _start_over() -> None:
    for held in list(_fork_aware):
        held.start_over()


os.register_at_fork(after_in_child=_start_over)


class Workers:
    """A queue of requests and the processes that answer them."""

    def __init__(self, num_workers: int, *, time_limit_s: float, memory_limit_mb: int) -> None:
        """Start nothing yet. The limits are per request: processor seconds, megabytes of its process."""
        assert num_workers >= 1
        self._limits: dict[str, Any] = {"time_limit_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
        self.num_workers = num_workers
        self._end: weakref.finalize[..., Workers] | None = None
        self.start_over()
        after_fork(self)

    def start_over(self) -> None:
        """Begin with an empty queue and no process."""
        if self._end is not None:
            self._end.detach()  # in a forked child: what it would close is the parent's
        self._desk = _Desk(self.num_workers, self._limits)
        self._end = weakref.finalize(self, self._desk.close)
        self._end.atexit = False

    @property
    def num_started(self) -> int:
        """How many workers were needed so far."""
        return len(self._desk.processes)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for process in self._desk.processes if process.pid is not None]

    def submit(self, question: Question, done: Done) -> None:
        """Queue a request; `done` is called with the answer, in a worker's thread."""
        self._desk.put({**question.request, "symbolic": question.symbolic}, done)

    def ask(self, question: Question) -> Answer:
        """Ask and wait."""
        future: Future[Answer] = Future()
        self.submit(question, future.set_result)
        return future.result()

    def close(self) -> None:
        """Kill the processes; pending requests are answered with `pool_closed`."""
        self._desk.close()
        for thread in self._desk.threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_S)


class _Desk:
    """What the threads share. They hold this and not the Workers, so that dropped Workers can end."""

    def __init__(self, num_workers: int, limits: dict[str, Any]) -> None:
        """Open, with nothing to do."""
        self.num_workers = num_workers
        self.limits = limits
        self.processes: list[WorkerProcess] = []
        self.threads: list[threading.Thread] = []
        self._waiting: deque[tuple[dict[str, Any], Done]] = deque()
        self._changed = threading.Condition()  # re-entrant: a garbage collection in here may close this very desk
        self._num_idle = 0
        self._is_closed = False

    def put(self, request: dict[str, Any], done: Done) -> None:
        """Queue a request; a closed desk answers immediately."""
        with self._changed:
            if not self._is_closed:
                self._waiting.append((request, done))
                if self._num_idle:
                    self._changed.notify()
                if len(self._waiting) > self._num_idle and len(self.processes) < self.num_workers:
                    self._hire()
                return
        done(Answer(None, "pool_closed"))

    def close(self) -> None:
        """Kill every process and answer what waits."""
        with self._changed:
            self._is_closed = True
            left, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for process in self.processes:
            process.close()
        for _, done in left:
            done(Answer(None, "pool_closed"))

    def _hire(self) -> None:
        process = WorkerProcess(**self.limits)
        self.processes.append(process)
        thread = threading.Thread(target=self._serve, args=(process,), name="tbrm-grader", daemon=True)
        self.threads.append(thread)
        thread.start()

    def _serve(self, process: WorkerProcess) -> None:
        size = 1
        while batch := self._take(size):
            started = time.monotonic()
            answers = process.ask_all([request for request, _ in batch])
            for (_, done), answer in zip(batch, answers, strict=True):
                done(answer)
            pace = (time.monotonic() - started) / len(batch)
            size = max(1, min(MAX_BATCH, 2 * len(batch), int(BATCH_S / pace)))
        process.kill()

    def _take(self, size: int) -> list[tuple[dict[str, Any], Done]]:
        """Return the next requests, a fair share of the pending ones; none once the desk is closed."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._num_idle += 1
                self._changed.wait()
                self._num_idle -= 1
            size = min(size, -(-len(self._waiting) // self.num_workers))
            batch: list[tuple[dict[str, Any], Done]] = []
            num_chars = 0
            while len(batch) < size and num_chars < MAX_BATCH_CHARS:
                batch.append(self._waiting.popleft())
                num_chars += len(batch[-1][0].get("text", ""))
            return batch
