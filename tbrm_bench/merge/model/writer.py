"""Tensors written into safetensors files: the header first, then every tensor at its place, by all cores.

    8 bytes   length of the header, little-endian
    header    {"lm_head.weight": {"dtype": "BF16", "shape": [151936, 1536], "data_offsets": [0, 466747392]}, ...}
    bytes     the tensors, one after the other

Format: https://huggingface.co/docs/safetensors. As every place is known before the first byte is written, workers need
nothing of each other, and memory holds one chunk per worker, whatever the size of a model, a shard or a tensor.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.disk import disk_errors
from tbrm_bench.errors import UserError
from tbrm_bench.merge.machine import check_space
from tbrm_bench.merge.pieces.stream import OutputTensor, copy_tensor, storages_of
from tbrm_bench.merge.source.byte_ranges import Storage
from tbrm_bench.provenance import num_cores

Progress = Callable[[int, int], None]
PROGRESS_S = 0.1
FLUSH_S = 0.2  # between two calls that bring what is written to the disk
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
MAX_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Shard:
    """An output file: its name, its tensors in their order, and where the first one's bytes begin."""

    name: str
    tensors: tuple[OutputTensor, ...]
    header: bytes

    @property
    def nbytes(self) -> int:
        """The size of the file."""
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


class Stopped(Exception):
    """Another worker failed: this one leaves off."""


def parse_size(size: int | str) -> int:
    """Return bytes. "5GB" -> 5000000000, "1.5GiB" -> 1610612736; raises UserError for anything else."""
    if isinstance(size, int):
        found, unit = float(size), 1
    else:
        match = re.fullmatch(r"([0-9.]+)\s*([KMGT]?i?B)?", size.strip(), re.IGNORECASE)
        if not match or match[1].count(".") > 1 or match[1] == ".":
            raise UserError(f"shard size {size!r} is not a number with a unit such as 5GB, 500MB or 2GiB")
        found, unit = float(match[1]), UNITS[(match[2] or "B").upper()]
    if found * unit < 1:
        raise UserError(f"shard size {size!r} is not positive; give one such as 5GB")
    return int(found * unit)


def plan_shards(tensors: Sequence[OutputTensor], max_bytes: int) -> list[Shard]:
    """Cut the tensors, in their order, into files of at most `max_bytes` of tensors; a larger tensor has its own."""
    groups: list[list[OutputTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + tensor.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    count = len(groups)
    names = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    return [
        _shard(name, group) for name, group in zip(names if count > 1 else ["model.safetensors"], groups, strict=True)
    ]


def _shard(name: str, tensors: list[OutputTensor]) -> Shard:
    # Wide elements first, so that each tensor begins at a multiple of its own element's size.
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in ordered:
        entries[tensor.name] = {
            "dtype": tensor.dtype.name,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return Shard(name, tuple(ordered), len(text).to_bytes(8, "little") + text)


def write_shards(
    folder: Path, output: Path, shards: Sequence[Shard], *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, bytes]:
    """Write the files and the index; return the digest of every tensor by name.

    Raises RunFailed if the disk is full, and whatever reading a tensor raises; then the files are not whole.
    """
    check_space(folder, sum(shard.nbytes for shard in shards))
    jobs: list[tuple[OutputTensor, int, int]] = []
    descriptors = []
    try:
        with disk_errors(output):
            for shard in shards:
                descriptor = os.open(folder / shard.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
                descriptors.append(descriptor)
                _write_all(descriptor, memoryview(shard.header), 0)
                at = len(shard.header)
                for tensor in shard.tensors:
                    jobs.append((tensor, descriptor, at))
                    at += tensor.nbytes
            with _written_back(descriptors):
                digests = _run(jobs, output, workers or default_workers(), progress)
            if len(shards) > 1:
                _write_index(folder, shards)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return digests


@contextmanager
def _written_back(descriptors: Sequence[int]) -> Iterator[None]:
    """Bring the files to the disk while the block fills them, and what is left at its end; raises OSError."""
    ended = threading.Event()

    def flush() -> None:
        while not ended.wait(FLUSH_S):
            for descriptor in descriptors:
                os.fsync(descriptor)

    with ThreadPoolExecutor(max_workers=1) as pool:
        flushing = pool.submit(flush)
        try:
            yield
        finally:
            ended.set()
    flushing.result()  # the system reports a failed write once, perhaps here
    for descriptor in descriptors:
        os.fsync(descriptor)


def default_workers() -> int:
    """Return the cores that this process may use, at most 16."""
    return min(MAX_WORKERS, num_cores())


def _run(
    jobs: list[tuple[OutputTensor, int, int]], output: Path, workers: int, progress: Progress | None
) -> dict[str, bytes]:
    total, done, stop = sum(tensor.nbytes for tensor, _, _ in jobs), [0], threading.Event()
    lock = threading.Lock()

    def copy(tensor: OutputTensor, descriptor: int, start: int) -> bytes:
        def sink(view: memoryview, at: int) -> None:
            if stop.is_set():
                raise Stopped
            with disk_errors(output):
                _write_all(descriptor, view, start + at)
            with lock:
                done[0] += len(view)

        return copy_tensor(tensor, sink)

    def verify(storage: Storage) -> None:
        if not stop.is_set():
            storage.finish()

    # The largest first, so that no core is left with a large one at the end.
    ordered = sorted(jobs, key=lambda entry: -entry[0].nbytes)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            copied = [pool.submit(copy, *entry) for entry in ordered]
            _wait(copied, lambda: progress(done[0], total) if progress else None)
            _wait([pool.submit(verify, storage) for storage in storages_of(job[0] for job in jobs)], lambda: None)
        except BaseException:  # Ctrl-C too: no worker writes on
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if progress:
        progress(total, total)
    return {entry[0].name: future.result() for entry, future in zip(ordered, copied, strict=True)}


def _wait(futures: Sequence[Future[Any]], tick: Callable[[], None]) -> None:
    """Wait for all; raise the first failure at once."""
    left = set(futures)
    while left:
        finished, left = wait(left, timeout=PROGRESS_S, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
        tick()


def _write_all(descriptor: int, view: memoryview, at: int) -> None:
    while len(view):
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count


def _write_index(folder: Path, shards: Sequence[Shard]) -> None:
    weight_map = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
    total = sum(tensor.nbytes for shard in shards for tensor in shard.tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
