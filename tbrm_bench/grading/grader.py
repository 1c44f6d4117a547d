"""One answer, one verdict: the public way in for a single completion.

>>> grade("The final answer is $0.50$.", r"\\frac{1}{2}").status
<Status.CORRECT: 'correct'>
"""

import os
import threading

from tbrm_bench.grading.equivalence import Undecided, decide_fast
from tbrm_bench.grading.extract import extract
from tbrm_bench.grading.pool import Workers
from tbrm_bench.grading.verdicts import grade_of, grade_without_answer
from tbrm_bench.records import FinishReason, Gold, Grade

# Name and version: a change that can turn a verdict raises the number.
GRADER = "tbrm-1"

_lock = threading.Lock()
_workers: tuple[int, Workers] | None = None


def grade(
    prediction: str, gold: Gold | str, *, finish_reason: FinishReason = "stop", strict_boxed: bool = False
) -> Grade:
    """Grade one completion, or a bare answer, against its gold; safe for hostile text, callable from any thread.

    A gold given as a string is one LaTeX answer. The first answer that the fast rules leave open starts one worker
    process, which later calls share (GraderPool grades many beside other work).
    """
    if isinstance(gold, str):
        gold = Gold(answers=(gold,))
    found = extract(prediction, finish_reason=finish_reason, strict_boxed=strict_boxed)
    if found.answer is None:
        return grade_without_answer(found, finish_reason)
    verdict = decide_fast(found.answer, gold)
    if isinstance(verdict, Undecided):
        return grade_of(found.answer, *_shared_workers().ask(verdict.question))
    return grade_of(found.answer, *verdict)


def _shared_workers() -> Workers:
    """Return this process's workers; a forked child gets its own."""
    global _workers
    with _lock:
        if _workers is None or _workers[0] != os.getpid():
            _workers = (os.getpid(), Workers(1, time_limit_s=5.0, memory_limit_mb=1024))
        return _workers[1]
