"""The process in which a hard verdict is reached: it reads JSON requests and writes JSON replies, one per line.

It is started as `python -m tbrm_bench.grading.workers.worker`, not by multiprocessing: it never imports the caller's
main module, and with it torch or vLLM; it needs no `if __name__ == "__main__"` there, and starts without copying the
caller's memory.

    {"time_limit_s": 5.0, "requests": [{"op": "grade", "answer": "\\\\sqrt{12}", "gold": {...}}, ...]}
    [true, "numeric"]
    ...

Requests are {"op": "grade"}, is this answer that gold; "gold", can that gold be judged at all; "equal", do these two
vote together; "second", what does another grader say; "score", what does a scorer of the caller's own say. Each gets
its reply at once, so that the caller knows which one it was when this process ends. A request over its processor
seconds is ended by the kernel (ITIMER_PROF with the default action), whatever code runs at that moment. Memory beyond
the limit raises MemoryError here. Importing mpmath, SymPy or a scorer counts against no limit, however cold the disk:
meanwhile the caller is sent `loading`, then `loaded`.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any, TextIO

from tbrm_bench.grading.workers import scorer

NICENESS = 5  # an engine that generates on the same cores goes first; the time limit counts processor seconds only
PR_SET_PDEATHSIG = 1
Reply = tuple[bool | None, str, dict[str, Any] | None]


def main() -> None:
    """Answer requests until standard input ends."""
    parent_pid, memory_limit_mb = int(sys.argv[1]), int(sys.argv[2])
    _confine(parent_pid, memory_limit_mb)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    import tbrm_bench.grading.vote_classes  # noqa: F401  # and with it all that a verdict needs but mpmath and SymPy

    _reply(replies, None, "ready")
    for line in sys.stdin:
        message = json.loads(line)
        for request in message["requests"]:
            reply = _guarded(request, message["time_limit_s"], replies)
            _start_clock(0)
            _reply(replies, *reply)


def _start_clock(limit_s: float) -> None:
    """End this process after so many processor seconds; 0 stops the clock."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)


def _guarded(request: dict[str, Any], time_limit_s: float, replies: TextIO) -> Reply:
    try:
        if (library := _library(request)) not in sys.modules:
            _reply(replies, None, "loading")
            importlib.import_module(library)
            _reply(replies, None, "loaded")
        _start_clock(time_limit_s)
        return _decide(request)
    except MemoryError:
        return None, "memory_limit", None
    except RecursionError:
        return None, "recursion_limit", None
    except Exception as error:  # noqa: BLE001  # any failure of a parser costs this verdict, not the process
        return None, f"exception:{type(error).__name__}", None


def _library(request: dict[str, Any]) -> str:
    """Return the module whose import counts against no limit."""
    if request["op"] == "score":
        return scorer.module_of(request)
    return "math_verify" if request.get("symbolic") else "mpmath"


def _decide(request: dict[str, Any]) -> Reply:
    from tbrm_bench.grading import second, vote_classes
    from tbrm_bench.grading.equal import equivalence, gold_alone

    if request["op"] == "score":
        return scorer.score(request)
    if request["op"] == "second":
        return second.ask(request)
    if request["op"] == "gold":
        return *gold_alone.judge_gold(request), None
    if request["op"] == "equal":
        return *vote_classes.equal_in_worker(request["left"], request["right"]), None
    return *equivalence.decide_fully(request), None


def _reply(replies: TextIO, verdict: bool | None, rule: str, detail: dict[str, Any] | None = None) -> None:
    replies.write(json.dumps([verdict, rule, detail] if detail else [verdict, rule]) + "\n")
    replies.flush()


def _confine(parent_pid: int, memory_limit_mb: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the whole group gets them; the caller ends us
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    if sys.platform == "linux":  # end with the caller even if a fork of it holds our input open
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(0)
    import resource

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each of NumPy's threads would take address space
    limit = memory_limit_mb * 2**20
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit; elsewhere a lower one holds already
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


if __name__ == "__main__":
    main()
