"""Which part of a tensor a rank of a device mesh holds, from what a DTensor's pickle says.

A mesh of shape (2, 4) named ("ddp", "fsdp") with placements (Replicate(), Shard(0)): the rank at coordinates (1, 3)
holds the last quarter of the rows, as does the one at (0, 3). A cut of d into n is that of torch.chunk: ceil(d/n) each
for the first ranks, the last ones short or empty; nothing is padded.

`_StridedShard(dim, split_factor)` says that this mesh dimension cuts after later ones did (FSDP over tensor parallel).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor


@dataclass(frozen=True, slots=True)
class LocalPart:
    """Where a rank's local tensor lies in the global one; `replicas` are its coordinates on replicating dimensions."""

    start: tuple[int, ...]
    sizes: tuple[int, ...]
    replicas: tuple[int, ...]


def place_of(file: Path, name: str, spec: Stub, shape: tuple[int, ...], rank: int) -> LocalPart:
    """Return the place of `rank`'s part; raises UserError for placements that hold no final values, or another rank."""
    mesh = spec.get("mesh")
    placements = spec.get("placements")
    if not isinstance(mesh, Stub) or not isinstance(placements, tuple):
        raise DamagedFile(file, f"tensor {name} has no mesh or no placements")
    sizes, coordinates = mesh_shape(file, mesh), _coordinates(file, mesh, rank)
    if not len(sizes) == len(coordinates) == len(placements):
        raise DamagedFile(file, f"tensor {name} has {len(placements)} placements on a mesh of {sizes} at {coordinates}")
    cuts: dict[int, list[int]] = {}  # tensor dimension -> mesh dimensions, in the order in which they cut
    replicas = []
    for axis in reversed(range(len(sizes))):
        placement = placements[axis]
        kind = placement.kind if isinstance(placement, Stub) else repr(placement)
        if kind == "Replicate":
            replicas.append(coordinates[axis])
        elif kind in ("Shard", "_StridedShard"):
            dim = placement.get("dim")
            if type(dim) is not int or not -len(shape) <= dim < len(shape):
                raise DamagedFile(file, f"tensor {name} of shape {shape} is cut along dimension {dim!r}")
            order = cuts.setdefault(dim % len(shape), [])
            factor = placement.get("split_factor", 1) if kind == "_StridedShard" else 1
            order.insert(_position(file, name, order, sizes, factor), axis)
        else:
            raise UserError(
                f"{file}: tensor {name} is placed as {kind}, a sum that was never taken; save it after an all-reduce"
            )
    start, local = [0] * len(shape), list(shape)
    for dim, order in cuts.items():
        for axis in order:
            begin, local[dim] = chunk(local[dim], sizes[axis], coordinates[axis])
            start[dim] += begin
    return LocalPart(tuple(start), tuple(local), tuple(reversed(replicas)))


def chunk(size: int, parts: int, index: int) -> tuple[int, int]:
    """Return begin and length of part `index` by torch.chunk's rule. (10, 4, 3) -> (9, 1)"""
    step = -(-size // parts)
    begin = min(step * index, size)
    return begin, min(begin + step, size) - begin


def _position(file: Path, name: str, order: list[int], sizes: tuple[int, ...], factor: Any) -> int:
    """Return how many of the later mesh dimensions cut before a strided one does: those whose sizes make its factor."""
    for count in range(len(order) + 1):
        if math.prod(sizes[axis] for axis in order[:count]) == factor:
            return count
    raise UserError(f"{file}: tensor {name} has a strided shard of factor {factor!r} on a mesh of {sizes}: not known")


def mesh_shape(file: Path, mesh: Stub) -> tuple[int, ...]:
    """Return the mesh's shape, as old and new versions of torch pickle it."""
    ranks = mesh.get("mesh")
    if isinstance(ranks, LazyTensor):
        return ranks.shape
    layout = mesh.get("_layout")
    axes = layout.get("axes") if isinstance(layout, Stub) else None
    shapes = [axis.get("shape") for axis in axes if isinstance(axis, Stub)] if isinstance(axes, tuple) else None
    if shapes is None and isinstance(layout, Stub):  # torch 2.9 to 2.12: one layout with nested tuples
        shape = layout.get("shape", layout.args[0] if layout.args else None)
        shapes = list(shape) if isinstance(shape, tuple) else [shape]
    try:
        return tuple(_product(shape) for shape in shapes or [])
    except TypeError:
        raise DamagedFile(file, "its device mesh has no shape") from None


def _product(shape: Any) -> int:
    if isinstance(shape, tuple):
        return math.prod(_product(size) for size in shape)
    if type(shape) is not int or shape < 1:
        raise TypeError
    return shape


def _coordinates(file: Path, mesh: Stub, rank: int) -> tuple[int, ...]:
    """Return the coordinates of the rank that wrote the file, which must be the one that its name says."""
    ranks = mesh.get("mesh")
    if isinstance(ranks, LazyTensor):
        values = ranks.small_ints()
        if values.count(rank) == 1:
            at, coordinates = values.index(rank), []
            for size in reversed(ranks.shape):
                coordinates.append(at % size)
                at //= size
            derived = tuple(reversed(coordinates))
            said = mesh.get("_coordinate_on_dim")
            if said is None or tuple(said) == derived:
                return derived
        raise _wrong_rank(file, mesh, rank)
    said, writer = mesh.get("_coordinate_on_dim"), mesh.get("_rank")
    if not isinstance(said, tuple | list) or any(type(index) is not int for index in said):
        raise DamagedFile(file, "its device mesh does not say which coordinates it was saved at")
    if writer is not None and writer != rank:
        raise _wrong_rank(file, mesh, rank)
    return tuple(said)


def _wrong_rank(file: Path, mesh: Stub, rank: int) -> UserError:
    writer = mesh.get("_rank")
    who = f"rank {writer}" if writer is not None else f"coordinates {mesh.get('_coordinate_on_dim')}"
    return UserError(f"{file} is named as rank {rank}, but was saved by {who}; give it its own name back")
