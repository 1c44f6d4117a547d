"""The caller's side of one worker process: start it, ask it, kill it when it is late, start the next one.

    worker = WorkerProcess(time_limit_s=5.0, memory_limit_mb=1024)
    worker.ask({"op": "grade", "answer": "\\\\sqrt{12}", "gold": {...}})   -> Answer(verdict=True, rule="numeric")

A late or dead worker costs one verdict, typed `time_limit`, `memory_limit` or `worker_died`; the next question starts a
fresh process. One thread at a time may ask.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

START_LIMIT_S = 120.0  # imports on a busy machine
WALL_FACTOR = 4  # wall seconds a request may take for each processor second: the cores may be an engine's


class Answer(NamedTuple):
    """A worker's verdict: equal, not equal, or undecided (None) for the reason that `rule` names."""

    verdict: bool | None
    rule: str


class WorkerProcess:
    """One process at a time, started at the first question."""

    def __init__(self, *, time_limit_s: float, memory_limit_mb: int) -> None:
        """Remember the limits of one question: processor seconds, and megabytes of the whole process."""
        self.time_limit_s = time_limit_s
        self.memory_limit_mb = memory_limit_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._symbolic_loaded = False
        self._closed = threading.Event()

    def ask(self, request: Mapping[str, Any], *, symbolic: bool = False) -> Answer:
        """Return the worker's verdict; never raises for what the answer does to the worker."""
        if self._process is None:
            started = self._start()
            if started.rule != "ready":
                return started
        if symbolic and not self._symbolic_loaded:
            loaded = self._exchange({"op": "load"}, START_LIMIT_S)
            if loaded.rule != "loaded":
                return loaded
            self._symbolic_loaded = True
        return self._exchange({**request, "time_limit_s": self.time_limit_s}, WALL_FACTOR * self.time_limit_s)

    def close(self) -> None:
        """Kill the process; callable from any thread, also while another one asks. No new process starts after it."""
        self._closed.set()
        process = self._process
        if process is not None:
            process.kill()

    def _start(self) -> Answer:
        if self._closed.is_set():
            return Answer(None, "pool_closed")
        # -P: a file json.py in the working directory must not become our json.
        module = ["-P", "-m", "tbrm_bench.grading.worker"]
        command = [sys.executable, *module, str(os.getpid()), str(self.memory_limit_mb)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        self._buffer, self._symbolic_loaded = b"", False
        if self._closed.is_set():
            self._process.kill()
        return self._read(START_LIMIT_S)

    def _exchange(self, request: Mapping[str, Any], wall_limit_s: float) -> Answer:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except (BrokenPipeError, OSError):
            return self._bury()
        return self._read(wall_limit_s)

    def _read(self, wall_limit_s: float) -> Answer:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN | select.POLLHUP)
        deadline = time.monotonic() + wall_limit_s
        while b"\n" not in self._buffer:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                process.kill()
                self._bury()
                return Answer(None, "time_limit")
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return self._bury()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply = json.loads(line)
        return Answer(reply["verdict"], reply["rule"])

    def _bury(self) -> Answer:
        """Collect the dead process and say why it died."""
        process = self._process
        assert process is not None
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still to be written to the dead process
                    continue
        self._process = None
        if self._closed.is_set():
            return Answer(None, "pool_closed")
        return Answer(None, "time_limit" if code == -signal.SIGPROF else "worker_died")
