"""Many verdicts, in order, as a stream: for a trainer's rewards, for somebody else's completions.

>>> [grade.status.value for grade in grade_many([(r"\\boxed{0.5}", "1/2"), ("I do not know.", "7")])]
['correct', 'no_answer']

The pairs are read as verdicts are asked for, at most MAX_AHEAD ahead, so that memory does not grow with their number.
"""

from collections.abc import Iterable, Iterator

from tbrm_bench.grading.pool import GraderPool
from tbrm_bench.records import Gold, Grade, SampleKey

MAX_AHEAD = 1024


def grade_many(
    pairs: Iterable[tuple[str, Gold | str]],
    *,
    num_workers: int = 1,
    time_limit_s: float = 5.0,
    memory_limit_mb: int = 1024,
    strict_boxed: bool = False,
) -> Iterator[Grade]:
    """Yield the verdict on each (prediction, gold), in order; a gold given as a string is one LaTeX answer.

    The limits hold for one verdict: processor seconds, megabytes of its worker. Callable from any thread, and from a
    process that has threads or a GPU: workers are started with exec, never by a fork of this process. From asyncio,
    `await asyncio.to_thread(list, grade_many(pairs))`.
    """
    with GraderPool(num_workers, time_limit_s, memory_limit_mb, strict_boxed) as pool:
        in_order = InOrder(pool)
        for prediction, gold in pairs:
            in_order.submit(prediction, Gold((gold,)) if isinstance(gold, str) else gold)
            yield from in_order.ready(wait=in_order.num_open >= MAX_AHEAD)
        yield from in_order.ready(wait=True)


class InOrder:
    """A pool's verdicts, given back in the order of submission."""

    def __init__(self, pool: GraderPool) -> None:
        """Wrap a pool; nothing else may submit to it or drain it."""
        self.pool = pool
        self._num_submitted = 0
        self._num_given = 0
        self._waiting: dict[int, Grade] = {}

    @property
    def num_open(self) -> int:
        """Submitted and not given back yet."""
        return self._num_submitted - self._num_given

    def submit(self, prediction: str, gold: Gold, *, truncated: bool = False) -> None:
        """Take one completion."""
        key = SampleKey("", "", self._num_submitted)
        self._num_submitted += 1
        self.pool.submit(key, prediction, gold, "length" if truncated else "stop")

    def ready(self, *, wait: bool) -> Iterator[Grade]:
        """Yield the verdicts whose turn it is; with `wait`, all of them."""
        self._waiting.update((key.sample_index, grade) for key, grade in self.pool.drain(wait=wait))
        while self._num_given in self._waiting:
            grade = self._waiting.pop(self._num_given)
            self._num_given += 1  # before the yield: who stops listening has had this one
            yield grade
