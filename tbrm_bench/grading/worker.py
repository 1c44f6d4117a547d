"""The process in which a hard verdict is reached: it reads JSON requests and writes JSON replies, one a line.

It is started as `python -m tbrm_bench.grading.worker`, not by multiprocessing: it never imports the caller's main
module, and with it torch or vLLM; it needs no `if __name__ == "__main__"` there, and starts without copying the
caller's memory.

    {"time_limit_s": 5.0, "requests": [{"op": "grade", "answer": "\\\\sqrt{12}", "gold": [...]}, {...}]}
    "thinking"
    [[true, "numeric", "\\\\sqrt{12}"], [false, "integer", "7"]]

A reply holds verdicts in the order of the requests, those reached by then. Before a request that may take long, or end
the process, the worker replies what it has and "thinking" ("loading" while it imports SymPy, which counts against no
limit). A request over its processor seconds is ended by the kernel (ITIMER_PROF with the default action), whatever code
runs at that moment; the caller sees the process end. Memory beyond the limit raises MemoryError here.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tbrm_bench.grading.judge import Judge

NICENESS = 5  # an engine that generates on the same cores goes first; the time limit counts processor seconds only
PR_SET_PDEATHSIG = 1
SEND_S = 0.01  # verdicts wait so long for others to be sent with


def main() -> None:
    """Answer requests until standard input ends."""
    parent_pid, memory_limit_mb = int(sys.argv[1]), int(sys.argv[2])
    _confine(parent_pid, memory_limit_mb)
    replies = Replies(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    from tbrm_bench.grading import judge

    replies.add(None, "ready", None)
    replies.send()
    for line in sys.stdin:
        message = json.loads(line)
        for request in message["requests"]:
            _start_clock(message["time_limit_s"])
            replies.add(*_guarded(judge.Judge(request), replies, message["time_limit_s"]))
            _start_clock(0)
        replies.send()


class Replies:
    """Verdicts on their way to the caller."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self.stream = stream
        self.unsent: list[tuple[bool | None, str, Any]] = []
        self.sent_at = time.monotonic()

    def add(self, verdict: bool | None, rule: str, detail: Any) -> None:
        """Take a verdict; it is sent with the next ones, unless they take long."""
        self.unsent.append((verdict, rule, detail))
        if time.monotonic() - self.sent_at > SEND_S:
            self.send()

    def send(self, notice: str = "") -> None:
        """Send what there is, and then a notice about the next request."""
        lines = ([json.dumps(self.unsent)] if self.unsent else []) + ([json.dumps(notice)] if notice else [])
        self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()
        self.unsent.clear()
        self.sent_at = time.monotonic()


def _start_clock(limit_s: float) -> None:
    """End this process after so many processor seconds; 0 stops the clock."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)


def _guarded(judge: "Judge", replies: Replies, time_limit_s: float) -> tuple[bool | None, str, Any]:
    try:
        if not judge.decide_fast():
            replies.send("thinking")
            if judge.needs_sympy and "math_verify" not in sys.modules:
                _start_clock(0)
                replies.send("loading")
                judge.load_sympy()
                _start_clock(time_limit_s)
            judge.decide_fully()
        return judge.verdict, judge.rule, judge.detail
    except MemoryError:
        return None, "memory_limit", judge.detail
    except RecursionError:
        return None, "recursion_limit", judge.detail
    except Exception as error:  # noqa: BLE001  # any failure of a parser is this answer's verdict "error", not a crash
        return None, f"exception:{type(error).__name__}", judge.detail


def _confine(parent_pid: int, memory_limit_mb: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's; it closes our input
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    if sys.platform == "linux":  # end with the caller even if a fork of it holds our input open
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(0)
    limit = memory_limit_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


if __name__ == "__main__":
    main()
