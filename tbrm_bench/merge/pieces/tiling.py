"""From pieces that many files hold to the order in which one tensor's bytes are read.

A reader of some format gives, for every name, the global shape and the pieces: lazy tensors and where they begin. Here
the pieces are laid on a grid of rows x width, so that reading the rows in order yields the tensor in row-major order:

    shape (10, 6), Shard(0) on 2 ranks      grid 60 x 1:  rows 0-29, rows 30-59
    shape (10, 6), Shard(1) on 2 ranks      grid 10 x 6:  columns 0-2, columns 3-5

and it is checked that they cover every element exactly once. Which pieces are replicas is known from the format,
never from equal values.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tbrm_bench.errors import UserError
from tbrm_bench.merge.pieces.lowrank import LowRank
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.tensors import LazyTensor


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A part of a tensor that begins at `start`, one index per dimension."""

    tensor: LazyTensor
    start: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A tensor in pieces: all of them have the dtype, none need be there twice.

    `grid` is the shape in which `start` counts, where it is not the tensor's own: (numel,) for flat partitions.
    `delta` is added to the numbers before they are rounded to the type that is written.
    """

    shape: tuple[int, ...]
    dtype: DType
    pieces: tuple[Piece, ...]
    grid: tuple[int, ...] | None = None
    delta: LowRank | None = None

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def region(self) -> tuple[object, ...]:
        """Equal for two names of the same stored bytes."""
        pieces = sorted((piece.start, *piece.tensor.region[:2]) for piece in self.pieces)
        return (self.shape, self.dtype.name, id(self.delta), *pieces)


@dataclass(slots=True)
class Loaded:
    """What a reader found: tensors by name, which of them are buffers, names that stand for others, what is to say."""

    tensors: dict[str, Parts]
    files: list[SourceFile]
    buffers: set[str] = field(default_factory=set)
    shared: dict[str, str] = field(default_factory=dict)  # alias -> name
    dropped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, name: str, reason: str) -> None:
        """Leave a tensor out, and say so."""
        del self.tensors[name]
        self.dropped.append((name, reason))


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Rows and columns of the grid, filled row by row from a tensor's elements, `at` of them from its begin."""

    row: int
    rows: int
    col: int
    cols: int
    tensor: LazyTensor
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The grid of a tensor and the boxes that tile it."""

    rows: int
    width: int
    boxes: tuple[Box, ...]


def whole(tensor: LazyTensor) -> Parts:
    """Return the parts of a tensor that lies in one piece."""
    return Parts(tensor.shape, tensor.dtype, (Piece(tensor, (0,) * len(tensor.shape)),))


def lay_out(name: str, parts: Parts) -> Layout:
    """Return the grid; raises UserError if the pieces disagree, overlap or leave a hole."""
    grid = (parts.shape if parts.grid is None else parts.grid) or (1,)
    pieces = [Piece(piece.tensor, piece.start or (0,)) for piece in parts.pieces if piece.tensor.numel]
    for piece in pieces:
        _check_piece(name, parts, grid, piece)
    cuts = {axis for piece in pieces for axis, size in enumerate(_sizes(piece, grid)) if size != grid[axis]}
    axis = max(cuts, default=0)
    width = 1 if math.prod(grid[:axis]) == 1 else math.prod(grid[axis:])
    rows = math.prod(grid) // width if width else 0
    boxes = [box for piece in pieces for box in _boxes(piece, grid, axis, width)]
    if not _tiles(rows, width, boxes):
        raise UserError(
            f"tensor {name} of shape {parts.shape}: its {len(pieces)} pieces do not cover it exactly once; "
            "are the files of one checkpoint together, each under its own name?"
        )
    return Layout(rows, width, tuple(boxes))


def _sizes(piece: Piece, grid: tuple[int, ...]) -> tuple[int, ...]:
    return piece.tensor.shape or (1,) * len(grid)


def _check_piece(name: str, parts: Parts, grid: tuple[int, ...], piece: Piece) -> None:
    sizes = _sizes(piece, grid)
    file = piece.tensor.storage.file.path
    piece.tensor.check()
    if piece.tensor.dtype is not parts.dtype:
        raise UserError(f"tensor {name} is {piece.tensor.dtype.torch} in {file}, but {parts.dtype.torch} elsewhere")
    fits = len(sizes) == len(grid) == len(piece.start) and all(
        start >= 0 and start + size <= end for start, size, end in zip(piece.start, sizes, grid, strict=True)
    )
    if not fits:
        raise UserError(f"tensor {name} has a piece of shape {sizes} at {piece.start} in {file}, outside of {grid}")


def _boxes(piece: Piece, grid: tuple[int, ...], axis: int, width: int) -> Iterator[Box]:
    """Yield the piece as runs of rows: one, unless an axis other than the first and the last cut one is cut too."""
    sizes = _sizes(piece, grid)
    rest = math.prod(grid[axis + 1 :])
    if width == 1:
        yield Box(piece.start[axis] * rest, sizes[axis] * rest, 0, 1, piece.tensor, 0)
        return
    col, cols = piece.start[axis] * rest, sizes[axis] * rest
    lead, lead_start, lead_grid = sizes[:axis], piece.start[:axis], grid[:axis]
    cut = max((i for i in range(axis) if lead[i] != lead_grid[i]), default=0)
    run = lead[cut] * math.prod(lead_grid[cut + 1 :])
    at = 0
    for index in itertools.product(*(range(size) for size in lead[:cut])):
        row = 0
        for place, begin, size in zip((*index, 0), lead_start, lead_grid, strict=False):
            row = row * size + begin + place
        row *= math.prod(lead_grid[cut + 1 :])
        yield Box(row, run, col, cols, piece.tensor, at)
        at += run * cols


def _tiles(rows: int, width: int, boxes: list[Box]) -> bool:
    """Whether every cell of the grid lies in exactly one box."""
    if sum(box.rows * box.cols for box in boxes) != rows * width:
        return False
    if len(boxes) < 2:
        return True
    row_cuts = np.unique([edge for box in boxes for edge in (box.row, box.row + box.rows)])
    col_cuts = np.unique([edge for box in boxes for edge in (box.col, box.col + box.cols)])
    count = np.zeros((len(row_cuts) - 1, len(col_cuts) - 1), dtype=np.int32)
    for box in boxes:
        top, bottom = np.searchsorted(row_cuts, (box.row, box.row + box.rows))
        left, right = np.searchsorted(col_cuts, (box.col, box.col + box.cols))
        count[top:bottom, left:right] += 1
    return bool((count == 1).all())
