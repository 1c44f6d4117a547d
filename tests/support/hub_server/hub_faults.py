"""What can go wrong between a client and a Hub, on demand or at random.

    faults.add("POST", "/commit/", status=412)             the next commit is refused
    faults.add("PUT", "/lfs/", kind="cut", times=3)        three uploads find the connection closed
    faults.randomize(seed=7, share=0.3)                    three requests in ten fail somehow

Kinds: `status` answers with an error before anything is done; `cut` closes the connection before anything is done;
`lost` does what was asked and closes the connection in place of the answer; `half` sends half of the body and closes
the connection; `slow` sends the body a few bytes at a time.
"""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "cut", "lost", "half", "slow"]


@dataclass(slots=True)
class Fault:
    """One fault; it strikes requests whose method is `method` ("" for any) and whose path contains `path`."""

    method: str = ""
    path: str = ""
    kind: Kind = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "injected fault"}'
    skip: int = 0
    times: int = 1
    delay_s: float = 0.0

    def strikes(self, method: str, path: str) -> bool:
        """Whether this fault is for the request; counts down."""
        if self.times <= 0 or not (method.startswith(self.method) and self.path in path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


RETRY_AFTER = {"Retry-After": "0"}


class Faults:
    """The faults to come; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._random: random.Random | None = None
        self._share = 0.0
        self.num_struck = 0

    def add(
        self,
        method: str = "",
        path: str = "",
        *,
        kind: Kind = "status",
        status: int = 500,
        headers: Mapping[str, str] | None = None,
        body: bytes = b'{"error": "injected fault"}',
        skip: int = 0,
        times: int = 1,
        delay_s: float = 0.0,
    ) -> None:
        """Plan a fault for the next `times` matching requests after the first `skip`."""
        fault = Fault(method, path, kind, status, headers or {}, body, skip, times, delay_s)
        with self._lock:
            self._planned.append(fault)

    def randomize(self, *, seed: int, share: float) -> None:
        """Let this share of all requests fail, in a way drawn from `seed`; 0 ends it."""
        with self._lock:
            self._random, self._share = random.Random(seed), share

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._planned, self._random, self.num_struck = [], None, 0

    def draw(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this request."""
        with self._lock:
            fault = next((fault for fault in self._planned if fault.strikes(method, path)), None)
            if fault is None and self._random is not None and self._random.random() < self._share:
                fault = self._draw_any(self._random, is_commit="/commit/" in path)
            self.num_struck += fault is not None
            return fault

    @staticmethod
    def _draw_any(rng: random.Random, *, is_commit: bool) -> Fault:
        kinds: list[Fault] = [
            Fault(status=500),
            Fault(status=503, body=b"<html>try later</html>"),
            Fault(status=429, headers=RETRY_AFTER),
            Fault(kind="cut"),
            Fault(kind="lost"),
            Fault(kind="half"),
        ]
        if is_commit:
            kinds += [Fault(status=409), Fault(status=412), Fault(kind="lost")]
        return rng.choice(kinds)
