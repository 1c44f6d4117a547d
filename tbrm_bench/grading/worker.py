"""The process in which a hard verdict is reached: it reads one JSON request a line and writes one JSON reply a line.

It is started as `python -m tbrm_bench.grading.worker`, not by multiprocessing: it never imports the caller's main
module, and with it torch or vLLM; it needs no `if __name__ == "__main__"` there, and starts without copying the
caller's memory.

    {"op": "load"}                                              ->  {"verdict": null, "rule": "loaded"}
    {"op": "grade", "answer": "\\\\sqrt{12}", "gold": {...}, ...} ->  {"verdict": true, "rule": "numeric"}

A request over its limit of processor seconds is ended by the kernel (ITIMER_PROF with the default action), whatever
code runs at that moment; the caller sees the process end. Memory beyond the limit raises MemoryError here.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, TextIO

NICENESS = 5  # an engine that generates on the same cores goes first; the time limit counts processor seconds only
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until standard input ends."""
    parent_pid, memory_limit_mb = int(sys.argv[1]), int(sys.argv[2])
    _confine(parent_pid, memory_limit_mb)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    import tbrm_bench.grading.votes  # noqa: F401  # and with it all that a verdict needs but SymPy

    _reply(replies, None, "ready")
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "load":
            _reply(replies, *_decide(request))
            continue
        signal.setitimer(signal.ITIMER_PROF, request["time_limit_s"])
        verdict, rule = _decide(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _reply(replies, verdict, rule)


def _decide(request: dict[str, Any]) -> tuple[bool | None, str]:
    from tbrm_bench.grading import equivalence, votes

    try:
        if request["op"] == "load":
            equivalence.load_symbolic()
            return None, "loaded"
        if request["op"] == "math_verify":
            return equivalence.ask_math_verify(request)
        if request["op"] == "equal":
            return votes.equal_in_worker(request["left"], request["right"])
        return equivalence.decide_fully(request)
    except MemoryError:
        return None, "memory_limit"
    except RecursionError:
        return None, "recursion_limit"
    except Exception as error:  # noqa: BLE001  # any failure of a parser is this answer's verdict "error", not a crash
        return None, f"exception:{type(error).__name__}"


def _reply(replies: TextIO, verdict: bool | None, rule: str) -> None:
    replies.write(json.dumps({"verdict": verdict, "rule": rule}) + "\n")
    replies.flush()


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
