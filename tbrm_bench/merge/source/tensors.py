"""A tensor as a description of where its bytes lie; nothing is read until it is asked for.

LazyTensor(storage=<bytes 4160 to 4280 of model_world_size_4_rank_1.pt>, dtype=F32, offset=0, shape=(5, 6),
           strides=(6, 1))
"""

import math
from dataclasses import dataclass

import numpy as np

from tbrm_bench.errors import UserError
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import Storage
from tbrm_bench.merge.source.dtypes import Bits, DType

MAX_SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class LazyTensor:
    """A strided view of a storage; offset and strides count elements, as in torch."""

    storage: Storage
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        raise TypeError("a tensor has no state")

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self.numel * self.dtype.itemsize

    @property
    def region(self) -> tuple[int, int, DType, tuple[int, ...], tuple[int, ...]]:
        """What tells two views apart: equal regions are one tensor under two names."""
        return (id(self.storage), self.offset, self.dtype, self.shape, self.strides)

    def is_contiguous(self) -> bool:
        """Whether the elements lie one after the other in row-major order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return self.numel == 0
            expected *= size
        return True

    def check(self) -> None:
        """Raise DamagedFile if the view leaves its storage."""
        if len(self.shape) != len(self.strides) or min((0, self.offset, *self.shape, *self.strides)) < 0:
            raise DamagedFile(self.storage.file.path, f"a tensor of shape {self.shape} and strides {self.strides}")
        if self.numel == 0:
            return
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if (last + 1) * self.dtype.itemsize > self.storage.size:
            raise DamagedFile(
                self.storage.file.path,
                f"a tensor of shape {self.shape} needs {(last + 1) * self.dtype.itemsize} bytes, "
                f"its storage has {self.storage.size}",
            )

    def read_run(self, start: int, count: int) -> Bits:
        """Return `count` elements that lie one after the other in the storage, `start` elements from its begin."""
        buffer = np.empty(count, dtype=self.dtype.bits)
        if count:
            self.storage.read_into(buffer.data.cast("B"), start * self.dtype.itemsize)
        return buffer

    def read(self) -> Bits:
        """Return the whole tensor's bits in its shape; it is held in memory."""
        self.check()
        if not self.numel:
            return np.empty(self.shape, dtype=self.dtype.bits)
        span = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        run = self.read_run(self.offset, span)
        itemsize = self.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            run, self.shape, [stride * itemsize for stride in self.strides], writeable=False
        )

    def small_ints(self) -> list[int]:
        """Return the flat values of a small integer tensor, such as a mesh of ranks."""
        if self.nbytes > MAX_SMALL_BYTES or self.dtype.is_float:
            raise UserError(f"{self.storage.file.path}: a tensor of {self.shape} {self.dtype.torch} where ranks belong")
        return [int(value) for value in self.read().reshape(-1)]

    def view(self, offset: int, shape: tuple[int, ...]) -> "LazyTensor":
        """Return a contiguous part of a contiguous tensor, `offset` elements from its begin."""
        return LazyTensor(self.storage, self.dtype, self.offset + offset, shape, contiguous_strides(shape))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides in elements of a row-major tensor. (5, 6) -> (6, 1)"""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
