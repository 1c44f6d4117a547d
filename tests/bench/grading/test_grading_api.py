"""Many verdicts as a stream: in order, lazily, and from wherever a trainer calls."""

import asyncio
import itertools
import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tbrm_bench.grading import grade, grade_many
from tbrm_bench.grading.many import MAX_AHEAD
from tbrm_bench.records import Gold, Status

# Every second pair needs a worker.
PAIRS = [(r"\boxed{\sqrt{12}}", r"2\sqrt{3}"), (r"\boxed{7}", "8"), (r"\boxed{\sqrt{13}}", r"2\sqrt{3}"), ("7", "7")]
EXPECTED = [Status.CORRECT, Status.WRONG, Status.WRONG, Status.CORRECT]


def statuses(repeat: int = 1) -> list[Status]:
    return [verdict.status for verdict in grade_many(PAIRS * repeat)]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_verdicts_come_in_order(num_workers: int) -> None:
    found = [verdict.status for verdict in grade_many(PAIRS * 50, num_workers=num_workers)]
    assert found == EXPECTED * 50


def test_pairs_are_read_as_verdicts_are_taken() -> None:
    """An endless source is no trouble, and a stream that is dropped ends its workers."""
    taken = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal taken
        for pair in itertools.cycle(PAIRS):
            taken += 1
            yield pair

    stream = grade_many(endless())
    assert [next(stream).status for _ in range(4)] == EXPECTED
    assert taken <= MAX_AHEAD + 4
    stream.close()  # type: ignore[attr-defined]


def test_from_threads_at_once() -> None:
    found: list[list[Status]] = []
    threads = [threading.Thread(target=lambda: found.append(statuses(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED * 5] * 4


def test_from_asyncio_beside_other_tasks() -> None:
    async def main() -> tuple[list[Status], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        found = await asyncio.to_thread(statuses, 50)
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(main())
    assert found == EXPECTED * 50
    assert ticks > 5, "the loop went on meanwhile"


def in_child(queue: "multiprocessing.Queue[list[Status]]") -> None:
    queue.put(statuses())
    queue.put([grade(*pair).status for pair in PAIRS])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_children_of_a_process_that_has_graded_and_has_threads(method: str) -> None:
    """A fork copies the parent's locks and pipes; a child must not speak through them."""
    assert grade(*PAIRS[0]).status is Status.CORRECT  # the parent's own worker is running
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=in_child, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in range(4)] == [EXPECTED] * 4
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert grade(*PAIRS[0]).status is Status.CORRECT


def test_a_gold_with_a_tolerance_or_a_string() -> None:
    gold = Gold(("3.14",), abs_tolerance=0.01)
    assert [verdict.status for verdict in grade_many([("3.141", gold), ("3.141", "3.14")])] == ["correct", "wrong"]
