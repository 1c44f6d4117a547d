"""The caller's side of one worker process: start it, ask it, kill it when it is late, start another one.

    worker = WorkerProcess(time_limit_s=5.0, memory_limit_mb=1024)
    worker.ask({"op": "grade", "answer": "\\\\sqrt{12}", "gold": {...}})   -> Answer(verdict=True, rule="numeric")

A late or dead worker costs one verdict, that of the first request it has not answered. What was asked behind it goes
to a fresh process.

    time_limit           it used its processor seconds
    memory_limit         it asked for more memory than it may have
    worker_crashed       it ended by itself, of a fault such as a stack that overflowed
    worker_died          somebody else ended it
    worker_starved       it hardly got a processor in all its wall seconds, or waited for something else
    worker_not_started   no process could be started

All but the first and last are asked once more, of a fresh process, before they cost a verdict: it may have been
killed for the memory of others, or held too much from before. One thread at a time may ask.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tbrm_bench.grading.equal.equivalence import Answer

START_LIMIT_S = 120.0  # imports on a busy machine
WALL_FACTOR = 4  # wall seconds a request may take for each processor second: the cores may be an engine's
# Of its processor seconds, which a late process has used in the second half of its wall seconds; else it was kept from
# working.
MIN_SHARE = 0.05
LOADING = ("loading", "loaded")
RETRIED = ("worker_died", "worker_crashed", "worker_starved", "memory_limit")
ENDED_BY_OTHERS = (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)  # exit codes

# A child that is forked while a worker starts would keep the pipe whose end tells Popen that the worker runs: the start
# would then last as long as the child. So a fork waits for a start, some milliseconds, in whatever thread it is.
_starting = threading.RLock()
os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


class WorkerProcess:
    """One process at a time, started by the first request."""

    def __init__(self, *, time_limit_s: float, memory_limit_mb: int) -> None:
        """Store the limits per request: processor seconds, and megabytes of the whole process."""
        self.time_limit_s = time_limit_s
        self.memory_limit_mb = memory_limit_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._asked_at = 0.0
        self._is_ready = False
        self._closed = threading.Event()

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        process = self._process
        return process.pid if process is not None else None

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Return the worker's verdict; never raises for what the answer does to the worker."""
        return next(self.ask_all([request]))

    def ask_all(self, requests: Sequence[Mapping[str, Any]]) -> Iterator[Answer]:
        """Yield one verdict per request, in order; the limits are per request."""
        num_done, is_retry = 0, False
        while num_done < len(requests):
            for answer in self._exchange(requests[num_done:]):
                if answer.rule == "memory_limit":
                    self.kill()
                if answer.rule in RETRIED and not is_retry:
                    is_retry = True
                    break
                is_retry = False
                num_done += 1
                yield answer

    def close(self) -> None:
        """Kill the process; callable from any thread, also while another one asks. No new process starts after it."""
        self._closed.set()
        process = self._process
        if process is not None:
            process.kill()

    def kill(self) -> None:
        """End the process, if there is one, and wait for its end; the next request starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._bury()

    def _exchange(self, requests: Sequence[Mapping[str, Any]]) -> Iterator[Answer]:
        """Yield the answers up to the last one or to the death of the process, which is then the last answer."""
        if self._process is None:
            started = self._start()
            if started.rule != "ready":
                yield started
                return
        process = self._process
        assert process is not None
        assert process.stdin is not None
        unsent = json.dumps({"time_limit_s": self.time_limit_s, "requests": requests}).encode() + b"\n"
        try:
            while unsent:
                unsent = unsent[os.write(process.stdin.fileno(), unsent) :]
        except OSError:  # it is dead, which is the answer to the first request
            yield self._bury()
            return
        for _ in requests:
            if self._process is not None:
                yield self._read(WALL_FACTOR * self.time_limit_s)

    def _start(self) -> Answer:
        if self._closed.is_set():
            return Answer(None, "pool_closed")
        # -P: a file json.py in the working directory must not become our json.
        module = ["-P", "-m", "tbrm_bench.grading.workers.worker"]
        command = [sys.executable, *module, str(os.getpid()), str(self.memory_limit_mb)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            # Unbuffered: a fork of the caller must not hold a half-written request that it would send again.
            with _starting:
                self._process = subprocess.Popen(
                    command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
        except OSError:
            return Answer(None, "worker_not_started")
        self._buffer = b""
        self._is_ready = False
        if self._closed.is_set():
            self._process.kill()
        started = self._read(START_LIMIT_S)
        self._is_ready = started.rule == "ready"
        return started

    def _read(self, wall_limit_s: float) -> Answer:
        """Return the next answer; while the worker loads a library, which it reports, another limit holds."""
        limit_s = wall_limit_s
        while True:
            self._asked_at = time.monotonic()
            line = self._read_line(self._asked_at + limit_s)
            answer = line if isinstance(line, Answer) else Answer(*json.loads(line))
            if answer.rule not in LOADING:
                return answer
            limit_s = START_LIMIT_S if answer.rule == "loading" else wall_limit_s

    def _read_line(self, deadline: float) -> bytes | Answer:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN | select.POLLHUP)
        used_s, wake_at = None, (time.monotonic() + deadline) / 2
        while b"\n" not in self._buffer:
            if not poll.poll(max(0.0, wake_at - time.monotonic()) * 1000):
                if wake_at < deadline:
                    used_s, wake_at = self._used_s(), deadline
                    continue
                rule = "worker_starved" if self._is_starved(used_s) else "time_limit"
                self.kill()
                return Answer(None, rule)
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return self._bury()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _bury(self) -> Answer:
        """Reap the dead process and return why it died."""
        process = self._process
        assert process is not None
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
        if self._closed.is_set():
            return Answer(None, "pool_closed")
        # A caller that ignores SIGCHLD, or waits for every child, leaves no exit code here.
        is_unknown = code == 0 and signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL
        unknown_and_late = is_unknown and time.monotonic() - self._asked_at >= self.time_limit_s
        if code == -signal.SIGPROF or unknown_and_late:
            return Answer(None, "time_limit")
        return Answer(None, "worker_died" if code in ENDED_BY_OTHERS or not self._is_ready else "worker_crashed")

    def _is_starved(self, used_before_s: float | None) -> bool:
        """Return whether the process did next to nothing since it had used so many processor seconds."""
        used_s, enough_s = self._used_s(), MIN_SHARE * self.time_limit_s
        can_tell = used_s is not None and used_before_s is not None and enough_s >= 1 / os.sysconf("SC_CLK_TCK")
        return can_tell and used_s - used_before_s < enough_s  # type: ignore[operator]

    def _used_s(self) -> float | None:
        """Return the processor seconds that the process has used; None where the system does not report them."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
