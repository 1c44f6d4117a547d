"""The process in which a hard verdict is reached: it reads one JSON request a line and writes one JSON reply a line.

It is started as `python -m tbrm_bench.grading.worker`, not by multiprocessing: it never imports the caller's main
module, and with it torch or vLLM; it needs no `if __name__ == "__main__"` there, and starts without copying the
caller's memory.

    {"op": "grade", "answer": "\\\\sqrt{12}", "gold": {...}, ...} ->  {"verdict": true, "rule": "numeric"}

A question that needs SymPy is answered twice the first time, {"rule": "loading"} and then the verdict: loading is not
counted against its limits.

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

from tbrm_bench.records import Gold

NICENESS = 5  # an engine that generates on the same cores goes first; the time limit counts processor seconds only
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until standard input ends."""
    parent_pid, memory_limit_mb = int(sys.argv[1]), int(sys.argv[2])
    _confine(parent_pid, memory_limit_mb)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    import tbrm_bench.grading.votes  # noqa: F401  # and with it all that a verdict needs but SymPy

    _reply(replies, {"verdict": None, "rule": "ready"})
    for line in sys.stdin:
        request = json.loads(line)
        _start_clock(request["time_limit_s"])
        reply = _guarded(request, replies)
        _start_clock(0)
        _reply(replies, reply)


def _start_clock(limit_s: float) -> None:
    """End this process after so many processor seconds; 0 stops the clock."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)


def _guarded(request: dict[str, Any], replies: TextIO) -> dict[str, Any]:
    try:
        return _decide(request, replies)
    except MemoryError:
        return {"verdict": None, "rule": "memory_limit"}
    except RecursionError:
        return {"verdict": None, "rule": "recursion_limit"}
    except Exception as error:  # noqa: BLE001  # any failure of a parser is this answer's verdict "error", not a crash
        return {"verdict": None, "rule": f"exception:{type(error).__name__}"}


def _decide(request: dict[str, Any], replies: TextIO) -> dict[str, Any]:
    from tbrm_bench.grading import equivalence, second, votes

    symbolic = request.get("symbolic")
    if request.get("fast"):
        gold = Gold(**{**request["gold"], "answers": tuple(request["gold"]["answers"])})
        verdict = equivalence.decide_fast(request["answer"], gold)
        if not isinstance(verdict, equivalence.Undecided):
            return {"verdict": verdict[0], "rule": verdict[1]}
        symbolic = verdict.question.symbolic
    if symbolic and "math_verify" not in sys.modules:
        _start_clock(0)
        _reply(replies, {"verdict": None, "rule": "loading"})
        equivalence.load_symbolic()
        _start_clock(request["time_limit_s"])
    if request["op"] == "second":
        return second.ask(request)
    if request["op"] == "equal":
        equal, rule = votes.equal_in_worker(request["left"], request["right"])
    else:
        equal, rule = equivalence.decide_fully(request)
    return {"verdict": equal, "rule": rule}


def _reply(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
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
