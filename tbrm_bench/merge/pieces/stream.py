"""One tensor read, cast, looked through, hashed and handed on, a few megabytes at a time.

The bytes that are handed on are the bytes that are hashed, and each was read under the source's checksum: the digest of
what was written is the digest of what the source holds, element by element.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tbrm_bench.merge.pieces.tiling import Layout, Parts, lay_out
from tbrm_bench.merge.source.byte_ranges import Storage
from tbrm_bench.merge.source.dtypes import F32, Bits, DType, cast, check_numbers, to_float
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.weights import tensor_hash

CHUNK_BYTES = 1 << 17  # stays in a core's cache and below what malloc would map anew, page by page, for every chunk


@dataclass(frozen=True, slots=True, eq=False)
class OutputTensor:
    """A tensor as it will be written: `dtype` is the written type, `layout` where its numbers come from."""

    name: str
    parts: Parts
    layout: Layout
    dtype: DType

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that is written."""
        return self.parts.shape

    @property
    def nbytes(self) -> int:
        """The bytes that are written."""
        return math.prod(self.shape) * self.dtype.itemsize


def output_tensor(name: str, parts: Parts, dtype: DType) -> OutputTensor:
    """Lay a tensor out; raises UserError if its pieces do not make it up."""
    return OutputTensor(name, parts, lay_out(name, parts), dtype)


def copy_tensor(tensor: OutputTensor, sink: Callable[[memoryview, int], None]) -> bytes:
    """Give the tensor's bytes to the sink, with their offset, in order; return the digest for the fingerprint.

    Raises RunFailed for a NaN or a number that the written type cannot hold, DamagedFile for a source cut short.
    """
    digest = tensor_hash(tensor.name, tensor.dtype.name, tensor.shape)
    at = 0
    for bits in _chunks(tensor):
        view = np.ascontiguousarray(bits).data.cast("B")
        digest.update(view)
        sink(view, at)
        at += len(view)
    return digest.digest()


def hash_tensor(tensor: OutputTensor) -> bytes:
    """Return the digest that `copy_tensor` would, without writing."""
    return copy_tensor(tensor, lambda _view, _at: None)


def read_all(tensor: OutputTensor) -> Bits:
    """Return a tensor's bits in one flat array; it is held in memory."""
    chunks = list(_chunks(tensor))
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=tensor.dtype.bits)


def storages_of(tensors: Iterable[OutputTensor]) -> list[Storage]:
    """Return the storages that the tensors are read from, each once."""
    boxes = (box for tensor in tensors for box in tensor.layout.boxes)
    return list({id(box.tensor.storage): box.tensor.storage for box in boxes}.values())


def _chunks(tensor: OutputTensor) -> Iterator[Bits]:
    layout, stored, delta = tensor.layout, tensor.parts.dtype, tensor.parts.delta
    read = _reader(layout)
    itemsize = max(stored.itemsize, tensor.dtype.itemsize)
    # An update is added in whole rows of the matrix; a grid's row may be one element.
    unit = 1 if delta is None else tensor.shape[1] // layout.width
    step = max(1, CHUNK_BYTES // (itemsize * unit * max(1, layout.width))) * unit
    for start in range(0, layout.rows, step):
        stop = min(start + step, layout.rows)
        before = read(start, stop)
        kind = stored
        if delta is not None:
            before = (to_float(before, stored) + delta.rows(start // unit, stop // unit).reshape(-1)).view("<u4")
            kind = F32
        after = cast(before, kind, tensor.dtype)
        check_numbers(before, kind, after, tensor.dtype, tensor.name)
        yield after


def _reader(layout: Layout) -> Callable[[int, int], Bits]:
    """Return a function that reads rows [start, stop) of the grid as flat bits."""
    runs = [_run(box.tensor) for box in layout.boxes]

    def read(start: int, stop: int) -> Bits:
        out: Bits | None = None
        for box, run in zip(layout.boxes, runs, strict=True):
            low, high = max(start, box.row), min(stop, box.row + box.rows)
            if low >= high:
                continue
            bits = run(box.at + (low - box.row) * box.cols, (high - low) * box.cols)
            if (low, high, box.cols) == (start, stop, layout.width):
                return bits
            if out is None:
                out = np.empty((stop - start, layout.width), dtype=bits.dtype)
            out[low - start : high - start, box.col : box.col + box.cols] = bits.reshape(-1, box.cols)
        assert out is not None  # the boxes tile the grid
        return out.reshape(-1)

    return read


def _run(tensor: LazyTensor) -> Callable[[int, int], Bits]:
    """Return a function that reads elements in row-major order; a tensor that is not stored so is held in memory."""
    if tensor.is_contiguous():
        return lambda at, count: tensor.read_run(tensor.offset + at, count)
    held: list[Bits] = []

    def run(at: int, count: int) -> Bits:
        if not held:
            held.append(np.ascontiguousarray(tensor.read()).reshape(-1))
        return held[0][at : at + count]

    return run
