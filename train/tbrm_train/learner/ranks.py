"""Communication between the processes of a training, and what each keeps for itself: clocks and random generators."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from tbrm_train.learner.deepspeed_engine import Processes

T = TypeVar("T")


def gather(mine: Sequence[T], processes: Processes, *, concat: bool = False) -> list[T]:
    """Return the items of all processes, interleaved (item i is from process i % world_size), or concatenated by rank.

    Interleaving undoes `items[rank::world_size]`.
    """
    if processes.world_size == 1:
        return list(mine)
    parts: list[Any] = [None] * processes.world_size
    torch.distributed.all_gather_object(parts, list(mine))
    if concat:
        return [item for part in parts for item in part]
    total = sum(len(part) for part in parts)
    return [parts[index % processes.world_size][index // processes.world_size] for index in range(total)]


def gather_by_index(mine: dict[int, Tensor], *, count: int, processes: Processes) -> list[Tensor]:
    """Return the tensors of all processes in the order of their indices 0 .. count - 1."""
    found = dict(gather(list(mine.items()), processes, concat=True))
    return [found[index] for index in range(count)]


def sum_all(values: Sequence[float], processes: Processes) -> list[float]:
    """Return the sum over all processes of each value, bit-identical in all of them."""
    by_rank = gather([list(values)], processes, concat=True)
    return [sum(column) for column in zip(*by_rank, strict=True)]


def barrier(processes: Processes) -> None:
    """Wait for all processes."""
    if processes.world_size > 1:
        torch.distributed.barrier()


def largest(value: float, processes: Processes) -> float:
    """Return the largest value of all processes."""
    return max(gather([value], processes))


def generator_state() -> dict[str, Any]:
    """Return the state of this process's torch generators."""
    on_gpu = torch.cuda.is_available()
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if on_gpu else None}


def restore_generators(state: dict[str, Any]) -> None:
    """Restore the state that `generator_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu())


class Clock:
    """Seconds of each phase of a step."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to the phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def total(self, phases: Iterable[str]) -> float:
        """Return the seconds of these phases so far."""
        return sum(self.seconds.get(name, 0.0) for name in phases)

    def take(self) -> dict[str, float]:
        """Return and reset the seconds so far, as `seconds/<phase>`, with the peak memory of the process in GiB."""
        found = {f"seconds/{name}": value for name, value in self.seconds.items()}
        self.seconds = {}
        found["memory_gib"] = _peak_memory()
        if torch.cuda.is_available():
            found["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return found


def _peak_memory() -> float:
    """Return the peak memory of this process in GiB; ru_maxrss would start at that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20
