"""What processes that train together tell each other, and small things each keeps: clocks and generators."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from tbrm_train.learner.deepspeed_engine import Processes

T = TypeVar("T")


def gather(mine: Sequence[T], processes: Processes, *, whole: bool = False) -> list[T]:
    """Return the items of all processes: dealt back in turn (item i from process i % world_size), or one after another.

    Dealt back, the items must have been dealt out so: `items[rank::world_size]`.
    """
    if processes.world_size == 1:
        return list(mine)
    parts: list[Any] = [None] * processes.world_size
    torch.distributed.all_gather_object(parts, list(mine))
    if whole:
        return [item for part in parts for item in part]
    total = sum(len(part) for part in parts)
    return [parts[index % processes.world_size][index // processes.world_size] for index in range(total)]


def gather_by_place(mine: dict[int, Tensor], *, count: int, processes: Processes) -> list[Tensor]:
    """Return the tensors of all processes in the order of their places 0 .. count - 1."""
    found = dict(gather(list(mine.items()), processes, whole=True))
    return [found[place] for place in range(count)]


def sum_all(values: Sequence[float], processes: Processes) -> list[float]:
    """Return the sum over all processes of each value, the same bits in all of them."""
    rows = gather([list(values)], processes, whole=True)
    return [sum(column) for column in zip(*rows, strict=True)]


def barrier(processes: Processes) -> None:
    """Wait for all processes."""
    if processes.world_size > 1:
        torch.distributed.barrier()


def largest(value: float, processes: Processes) -> float:
    """Return the largest value of all processes."""
    return max(gather([value], processes))


def generator_state() -> dict[str, Any]:
    """Return the state of torch's generators of this process."""
    on_gpu = torch.cuda.is_available()
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if on_gpu else None}


def restore_generators(state: dict[str, Any]) -> None:
    """Set torch's generators to what `generator_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu())


class Clock:
    """Seconds of each phase of a step."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def total(self, phases: Iterable[str]) -> float:
        """Return the seconds of these phases so far."""
        return sum(self.seconds.get(name, 0.0) for name in phases)

    def take(self) -> dict[str, float]:
        """Return the seconds so far, `seconds/<phase>`, and start anew; with the process's peak memory in GiB."""
        found = {f"seconds/{name}": value for name, value in self.seconds.items()}
        self.seconds = {}
        found["memory_gib"] = _peak_memory()
        if torch.cuda.is_available():
            found["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return found


def _peak_memory() -> float:
    """Return the most memory that this process held, in GiB; ru_maxrss begins with that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20
