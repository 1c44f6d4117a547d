"""Many verdicts, in order, as a stream: for a trainer's rewards, for somebody else's completions.

>>> [grade.status.value for grade in grade_many([(r"\\boxed{0.5}", "1/2"), ("I do not know.", "7")])]
['correct', 'no_answer']

The pairs are read as verdicts are asked for, at most MAX_AHEAD ahead, so that memory does not grow with their number.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from tbrm_bench.grading.workers.pool import GraderPool
from tbrm_bench.grading.workers.promise import Promise
from tbrm_bench.records import DEFAULT_POLICY, Gold, Grade, GradingPolicy

MAX_AHEAD = 1024


def grade_many(
    pairs: Iterable[tuple[str, Gold | str]],
    *,
    num_workers: int = 1,
    time_limit_s: float = 5.0,
    memory_limit_mb: int = 1024,
    strict_boxed: bool = False,
    policy: GradingPolicy = DEFAULT_POLICY,
) -> Iterator[Grade]:
    """Yield the verdict on each (prediction, gold), in order; a gold given as a string is one LaTeX answer.

    The limits hold for one verdict: processor seconds, megabytes of its worker. Callable from any thread, and from a
    process that has threads or a GPU: workers are started with exec, never by a fork of this process. From asyncio,
    `await asyncio.to_thread(list, grade_many(pairs))`.
    """
    with GraderPool(num_workers, time_limit_s, memory_limit_mb, strict_boxed, policy=policy) as pool:
        open_verdicts: deque[Grade | Promise] = deque()
        for prediction, gold in pairs:
            open_verdicts.append(pool.verdict(prediction, Gold((gold,)) if isinstance(gold, str) else gold))
            while open_verdicts and (is_done(open_verdicts[0]) or len(open_verdicts) >= MAX_AHEAD):
                yield grade_in(open_verdicts.popleft())
        while open_verdicts:
            yield grade_in(open_verdicts.popleft())


def is_done(verdict: Grade | Promise) -> bool:
    """Whether a verdict is ready and need not be waited for."""
    return isinstance(verdict, Grade) or verdict.grade is not None


def grade_in(verdict: Grade | Promise) -> Grade:
    """Return a verdict, waiting for it where it is a promise."""
    return verdict if isinstance(verdict, Grade) else verdict.wait()
