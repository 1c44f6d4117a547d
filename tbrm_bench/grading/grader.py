"""One answer, one verdict: the public way in for a single completion.

>>> grade("The final answer is $0.50$.", r"\\frac{1}{2}").status
<Status.CORRECT: 'correct'>
"""

from tbrm_bench.grading.workers.pool import GraderPool
from tbrm_bench.records import DEFAULT_POLICY, FinishReason, Gold, Grade, GradingPolicy

# Name and version: a change that can change a verdict raises the number.
GRADER = "tbrm-3"

_shared = GraderPool(num_workers=1)  # nothing starts before it is needed; a forked child gets its own


def grade(
    prediction: str,
    gold: Gold | str,
    *,
    finish_reason: FinishReason = "stop",
    strict_boxed: bool = False,
    policy: GradingPolicy = DEFAULT_POLICY,
) -> Grade:
    """Grade one completion, or a bare answer, against its gold; callable from any thread.

    A gold given as a string is one LaTeX answer; `policy` says what counts as equal where mathematicians differ. In
    this process the text is searched for its answer, in time linear in its length, and the fast rules are tried,
    bounded by the limits of `limits.py`: microseconds, some milliseconds at worst, no code of the answer's, no growth
    of memory with its numbers. What they leave open is decided in one worker process, which later calls share; only
    there a verdict is bounded by the clock (5 processor seconds, 1 GB) and can be killed: an answer that
    causes it is `wrong`, by the rule of its limit. `grade_many` takes limits of your own.
    """
    gold = Gold((gold,)) if isinstance(gold, str) else gold
    if not isinstance(gold, Gold):
        raise TypeError(f"the gold is {gold!r:.60}; give a string, or a Gold for several answers")
    found = _shared.verdict(prediction, gold, finish_reason, strict_boxed=strict_boxed, policy=policy)
    return found if isinstance(found, Grade) else found.wait()
