"""A grade that a worker will deliver.

What `concurrent.futures.Future` does, at a tenth of its cost: a pool hands out tens of thousands a second.
"""

import threading
from collections.abc import Callable

from tbrm_bench.records import Grade


class Promise:
    """Kept once, by a worker's thread; any thread may ask or wait."""

    __slots__ = ("_arrived", "_calls", "grade")

    def __init__(self) -> None:
        """Not kept yet."""
        self.grade: Grade | None = None
        self._calls: list[Callable[[Promise], None]] = []
        self._arrived = threading.Lock()
        self._arrived.acquire()

    def keep(self, grade: Grade) -> None:
        """Set the grade."""
        self.grade = grade
        self._arrived.release()
        self._call()

    def wait(self) -> Grade:
        """Return the grade, waiting for it."""
        if self.grade is None:
            with self._arrived:
                pass
        assert self.grade is not None
        return self.grade

    def when_kept(self, call: "Callable[[Promise], None]") -> None:
        """Have `call` called with this promise once it is kept, in the thread that keeps it, or now."""
        self._calls.append(call)
        if self.grade is not None:
            self._call()

    def _call(self) -> None:
        # Whoever takes a call off the list makes it, so that none is made twice or forgotten, without a lock.
        while self._calls:
            try:
                call = self._calls.pop()
            except IndexError:
                return
            call(self)
