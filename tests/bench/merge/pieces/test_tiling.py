"""Cutting a tensor and laying the pieces out again gives the tensor; pieces that do not make it up are refused."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset
from torch.distributed.tensor.placement_types import _StridedShard

from tbrm_bench.errors import UserError
from tbrm_bench.merge.pieces.mesh import chunk, place_of
from tbrm_bench.merge.pieces.stream import output_tensor, read_all
from tbrm_bench.merge.pieces.tiling import Parts, Piece, lay_out
from tbrm_bench.merge.source.byte_ranges import SourceFile, Storage
from tbrm_bench.merge.source.dtypes import BY_NAME, F32
from tbrm_bench.merge.source.inert import stub_class
from tbrm_bench.merge.source.tensors import LazyTensor, contiguous_strides

HERE = Path("rank.pt")
Array = np.ndarray[Any, np.dtype[np.uint32]]


def in_file(folder: Path, array: Array) -> LazyTensor:
    """Write an array and return the lazy tensor of it, with its strides: transposed ones stay transposed."""
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    base = array if array.flags.c_contiguous else array.T
    path.write_bytes(np.ascontiguousarray(base).tobytes())
    strides = contiguous_strides(base.shape)
    strides = strides if base is array else tuple(reversed(strides))
    return LazyTensor(Storage(SourceFile(path), 0, array.nbytes, None), F32, 0, array.shape, strides)


def boxes(shape: tuple[int, ...], cuts: list[list[int]]) -> list[tuple[slice, ...]]:
    """Return the boxes between the cuts along every axis."""
    axes = []
    for size, marks in zip(shape, cuts, strict=True):
        edges = sorted({0, size, *(mark % (size + 1) for mark in marks)})
        axes.append([slice(low, high) for low, high in itertools.pairwise(edges)] or [slice(0, 0)])
    return [tuple(box) for box in itertools.product(*axes)]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_pieces_cut_along_any_axes_make_the_tensor(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 6), max_size=4)))
    cuts = [data.draw(st.lists(st.integers(0, 6), max_size=2)) for _ in shape]
    whole: Array = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    folder = tmp_path_factory.mktemp("cut")
    pieces = []
    for box in boxes(shape, cuts):
        part = whole[box]
        if data.draw(st.booleans()) and part.ndim == 2:
            part = np.asfortranarray(part)  # a piece that is stored transposed
        start = tuple(edge.start for edge in box)
        pieces.append(Piece(in_file(folder, part if part.ndim == 2 else np.ascontiguousarray(part)), start))
    order = data.draw(st.permutations(pieces))
    tensor = output_tensor("w", Parts(shape, F32, tuple(order)), F32)
    assert read_all(tensor).tobytes() == whole.tobytes()


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), data=st.data())
@settings(max_examples=60, deadline=None)
def test_flat_partitions_make_the_tensor(
    sizes: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    numel = sum(sizes)
    rows = data.draw(st.sampled_from([n for n in range(1, numel + 1) if numel % n == 0] or [1]))
    whole: Array = np.arange(numel, dtype=np.uint32)
    folder = tmp_path_factory.mktemp("flat")
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    pieces = tuple(
        Piece(in_file(folder, whole[start : start + size]), (start,)) for start, size in zip(starts, sizes, strict=True)
    )
    shape = (rows, numel // rows)
    assert read_all(output_tensor("w", Parts(shape, F32, pieces, grid=(numel,)), F32)).tobytes() == whole.tobytes()


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_hole_an_overlap_and_a_stranger_are_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    cuts = [data.draw(st.lists(st.integers(0, 5), max_size=2)) for _ in shape]
    folder = tmp_path_factory.mktemp("hole")
    whole: Array = np.zeros(shape, dtype=np.uint32)
    pieces = [
        Piece(in_file(folder, np.ascontiguousarray(whole[box])), tuple(edge.start for edge in box))
        for box in boxes(shape, cuts)
    ]
    victim = data.draw(st.integers(0, len(pieces) - 1))
    doubled = [*pieces, pieces[victim]]
    holed = pieces[:victim] + pieces[victim + 1 :]
    moved = list(pieces)
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = list(pieces[victim].start)
    start[axis] += data.draw(st.sampled_from([-1, 1, 100]))
    moved[victim] = Piece(pieces[victim].tensor, tuple(start))
    for wrong in (doubled, holed, moved):
        with pytest.raises(UserError):
            lay_out("w", Parts(shape, F32, tuple(wrong)))


def test_a_hole_and_an_overlap_of_one_size_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    part = in_file(tmp_path, np.zeros((2, 2), dtype=np.uint32))
    pieces = (Piece(part, (0, 0)), Piece(part, (1, 1)))
    with pytest.raises(UserError, match="exactly once"):
        lay_out("w", Parts((2, 4), F32, (Piece(part, (0, 0)), Piece(part, (0, 1)))))
    with pytest.raises(UserError):
        lay_out("w", Parts((3, 3), F32, pieces))


def test_pieces_of_another_type_are_refused(tmp_path: Path) -> None:
    part = in_file(tmp_path, np.zeros(2, dtype=np.uint32))
    with pytest.raises(UserError, match=r"float32.*int32"):
        lay_out("w", Parts((2,), BY_NAME["I32"], (Piece(part, (0,)),)))


def stub(name: str, **state: Any) -> Any:
    value = stub_class(name)()
    value.__setstate__(state)
    return value


def placement(value: Any) -> Any:
    if isinstance(value, _StridedShard):
        return stub(
            "torch.distributed.tensor.placement_types._StridedShard", dim=value.dim, split_factor=value.split_factor
        )
    if isinstance(value, Shard):
        return stub("torch.distributed.tensor.placement_types.Shard", dim=value.dim)
    return stub("torch.distributed.tensor.placement_types.Replicate")


def new_mesh(sizes: tuple[int, ...], coordinates: tuple[int, ...], rank: int) -> Any:
    """A device mesh as torch 2.13 pickles it."""
    axes = tuple(stub("torch.distributed._mesh_layout._FlatLayout", shape=(size,), stride=(1,)) for size in sizes)
    layout = stub("torch.distributed._mesh_layout._MeshLayout", axes=axes)
    return stub("torch.distributed.device_mesh.DeviceMesh", _layout=layout, _coordinate_on_dim=coordinates, _rank=rank)


def old_mesh(folder: Path, sizes: tuple[int, ...], coordinates: tuple[int, ...] | None) -> Any:
    """A device mesh as torch up to 2.8 pickles it: the ranks in a tensor."""
    path = folder / "mesh.bin"
    path.write_bytes(np.arange(math.prod(sizes), dtype="<i4").tobytes())
    storage = Storage(SourceFile(path), 0, 4 * math.prod(sizes), None)
    ranks = LazyTensor(storage, BY_NAME["I32"], 0, sizes, contiguous_strides(sizes))
    return stub("torch.distributed._tensor.device_mesh.DeviceMesh", mesh=ranks, _coordinate_on_dim=coordinates)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_places_are_those_that_torch_computes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Against torch's own function, for meshes of up to three dimensions, old pickles and new."""
    shape = tuple(data.draw(st.lists(st.integers(0, 13), min_size=1, max_size=3)))
    sizes = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    dims = st.integers(0, len(shape) - 1)
    kinds = [data.draw(st.one_of(st.just(Replicate()), dims.map(Shard))) for _ in sizes]
    folder = tmp_path_factory.mktemp("mesh")
    for rank, coordinates in enumerate(itertools.product(*map(range, sizes))):
        local, offset = _compute_local_shape_and_global_offset(shape, sizes, list(coordinates), kinds)
        for mesh in (
            new_mesh(sizes, coordinates, rank),
            old_mesh(folder, sizes, coordinates),
            old_mesh(folder, sizes, None),
        ):
            spec = stub("DTensorSpec", mesh=mesh, placements=tuple(map(placement, kinds)))
            place = place_of(HERE, "w", spec, shape, rank)
            assert place.sizes == tuple(local)
            if math.prod(local):
                assert place.start == tuple(offset)


@pytest.mark.parametrize("fsdp", [1, 2, 4])
@pytest.mark.parametrize("tp", [2, 4])
def test_a_strided_shard_cuts_after_the_later_one(fsdp: int, tp: int) -> None:
    """FSDP over tensor parallel: rank (f, t) holds part f of part t; where it divides evenly torch says the same."""
    rows = 3 * fsdp * tp
    kinds = [_StridedShard(0, split_factor=tp), Shard(0)]
    for f, t in itertools.product(range(fsdp), range(tp)):
        spec = stub("DTensorSpec", mesh=new_mesh((fsdp, tp), (f, t), 0), placements=tuple(map(placement, kinds)))
        place = place_of(HERE, "w", spec, (rows, 5), 0)
        assert place.start == (t * 3 * fsdp + f * 3, 0)
        local, offset = _compute_local_shape_and_global_offset((rows, 5), (fsdp, tp), [f, t], kinds)
        assert (place.start, place.sizes) == (tuple(offset), tuple(local))


def test_sums_that_were_never_taken_are_refused() -> None:
    for kind in ("Partial", "_Partial", "_NormPartial"):
        partial = stub(f"torch.distributed.tensor.placement_types.{kind}", reduce_op="sum")
        spec = stub("DTensorSpec", mesh=new_mesh((2,), (0,), 0), placements=(partial,))
        with pytest.raises(UserError, match=kind):
            place_of(HERE, "w", spec, (4, 4), 0)


def test_a_file_under_another_ranks_name_is_refused(tmp_path: Path) -> None:
    shard = (placement(Shard(0)),)
    for mesh in (new_mesh((4,), (1,), 1), old_mesh(tmp_path, (4,), (1,))):
        with pytest.raises(UserError, match=r"rank 2"):
            place_of(HERE, "w", stub("DTensorSpec", mesh=mesh, placements=shard), (8,), 2)


@given(size=st.integers(0, 1000), parts=st.integers(1, 40))
def test_chunks_follow_one_another_and_end_at_the_end(size: int, parts: int) -> None:
    import torch

    lengths = [len(part) for part in torch.arange(size).chunk(parts)] if size else [0]
    found = [chunk(size, parts, index) for index in range(parts)]
    assert [length for _, length in found] == lengths + [0] * (parts - len(lengths))
    assert all(begin == sum(lengths[:index]) for index, (begin, _) in enumerate(found))
