"""Checkpoints of FSDP, one file per rank, as verl and others write them.

    actor/model_world_size_4_rank_0.pt     torch.save of {name: DTensor | ShardedTensor | tensor}
    actor/fsdp_config.json                 {"FSDP_version": 2, "world_size": 4}; not always there
    actor/huggingface/                     config and tokenizer

DTensors (FSDP2, HSDP, tensor parallel; FSDP1 with a mesh) say where they lie by mesh and placements, ShardedTensors
(FSDP1 without one) by offsets. A plain tensor is a buffer or a parameter that every rank holds whole.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.pieces.mesh import place_of
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, Piece, whole
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.file_names import check_ranks_complete, files_in
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import Archive

NAME = "fsdp"
TITLE = "FSDP (verl and others)"
FILES = "model_world_size_*_rank_*.pt"
RANK_FILE = re.compile(r"model_world_size_(\d+)_rank_(\d+)\.pt")


def find(folder: Path) -> Checkpoint | None:
    """Return the rank files of FSDP: all ranks of one world size."""
    found = {(int(m[1]), int(m[2])): path for path in files_in(folder) if (m := RANK_FILE.fullmatch(path.name))}
    if not found:
        return None
    worlds = sorted({world for world, _ in found})
    if len(worlds) > 1:
        raise UserError(f"{folder} mixes files of world sizes {' and '.join(map(str, worlds))}; move one set away")
    world = worlds[0]
    said = _world_size(folder / "fsdp_config.json")
    if said is not None and said != world:
        raise UserError(f"{folder}: fsdp_config.json says world size {said}, the files' names say {world}; mixed runs?")
    check_ranks_complete(folder, {rank for _, rank in found}, world, "model_world_size_{0}_rank_{1}.pt")
    return Checkpoint(NAME, folder, tuple(found[world, rank] for rank in range(world)), world)


def _world_size(file: Path) -> int | None:
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8")).get("world_size")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    return value if isinstance(value, int) else None


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the tables of all ranks; raises UserError where they do not make one checkpoint."""
    archives = [Archive(SourceFile(path)) for path in checkpoint.files]
    for rank, archive in enumerate(archives):
        _check_root(archive, rank)
        if not isinstance(archive.value, dict) or not all(isinstance(name, str) for name in archive.value):
            raise DamagedFile(archive.file.path, "it holds no state dict")
    loaded = Loaded({}, [archive.file for archive in archives])
    if not all(archive.has_checksums for archive in archives):
        loaded.warnings.append("the shards were saved without checksums: flipped bits in them cannot be noticed")
    loaded.buffers = _buffers(archives)
    # Ranks of a pipeline hold different names; the order is that of the first rank that has one.
    names = dict.fromkeys(name for archive in archives for name in archive.value)
    for name in names:
        held = {rank: archive.value[name] for rank, archive in enumerate(archives) if name in archive.value}
        parts = _gather(archives, name, held, loaded)
        if parts is not None:
            loaded.tensors[name] = parts
    return loaded


def _buffers(archives: list[Archive]) -> set[str]:
    """Return the plain tensors, where parameters are sharded."""
    values = {name: value for archive in archives for name, value in archive.value.items()}
    plain = {name for name, value in values.items() if isinstance(value, LazyTensor)}
    return plain if len(plain) < len(values) else set()


def _check_root(archive: Archive, rank: int) -> None:
    """torch.save keeps a file's name inside of it: a renamed one is noticed."""
    saved = RANK_FILE.fullmatch(f"{archive.root}.pt")
    if saved and int(saved[2]) != rank:
        raise UserError(f"{archive.file.path} was saved as {archive.root}.pt; give it its own name back")


def _gather(archives: list[Archive], name: str, held: Mapping[int, Any], loaded: Loaded) -> Parts | None:
    first = next(iter(held.values()))
    kinds = {value.kind if isinstance(value, Stub) else type(value).__name__ for value in held.values()}
    if len(kinds) > 1:
        raise UserError(
            f"tensor {name} is {' on one rank and '.join(sorted(kinds))} on another; are the files of a kind?"
        )
    if isinstance(first, LazyTensor):
        return _replicated(archives, name, held, loaded)
    if isinstance(first, Stub) and first.kind == "DTensor":
        return _from_dtensors(archives, name, held, loaded)
    if isinstance(first, Stub) and first.kind == "ShardedTensor":
        return _from_sharded_tensors(archives, name, held)
    loaded.dropped.append((name, f"not a tensor ({kinds.pop()})"))
    return None


def _replicated(archives: list[Archive], name: str, held: Mapping[int, LazyTensor], loaded: Loaded) -> Parts:
    if name.rpartition(".")[2].startswith("_flat_param") or "flat_param" in name.rpartition(".")[2]:
        raise UserError(
            f"{archives[0].file.path} holds flat parameters ({name}): a local state dict of FSDP1, which says no "
            "shapes; save a sharded or a full state dict"
        )
    tensors = list(held.values())
    if len({(tensor.shape, tensor.dtype.name) for tensor in tensors}) > 1:
        shapes = sorted({tensor.shape for tensor in tensors})
        raise UserError(
            f"tensor {name} is not sharded, but has the shapes {shapes} on different ranks; mixed checkpoints?"
        )
    if len(held) not in (1, len(archives)):
        raise UserError(f"tensor {name} is not sharded, but only {len(held)} of {len(archives)} ranks hold it")
    _compare_replicas(name, [(tensor, rank) for rank, tensor in held.items()], loaded)
    return whole(tensors[0])


def _from_dtensors(archives: list[Archive], name: str, held: Mapping[int, Stub], loaded: Loaded) -> Parts:
    shapes: set[tuple[int, ...]] = set()
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[LazyTensor, int]]] = {}
    for rank, value in held.items():
        file = archives[rank].file.path
        local, spec = value.get("_local_tensor"), value.get("_spec")
        shape = _global_shape(value)
        if not isinstance(local, LazyTensor) or not isinstance(spec, Stub) or shape is None:
            raise DamagedFile(file, f"tensor {name} is not a DTensor that can be read")
        place = place_of(file, name, spec, shape, rank)
        if local.shape != place.sizes and local.numel + _numel(place.sizes) > 0:
            raise DamagedFile(file, f"tensor {name} has a local shape of {local.shape}, its mesh says {place.sizes}")
        shapes.add(shape)
        found.setdefault((place.start, place.sizes), []).append((local, rank))
    if len(shapes) > 1:
        raise UserError(f"tensor {name} has the shapes {sorted(shapes)} on different ranks; mixed checkpoints?")
    shape = shapes.pop()
    for copies in found.values():
        _compare_replicas(name, copies, loaded)
    pieces = tuple(
        Piece(copies[0][0], start) for (start, sizes), copies in sorted(found.items()) if _numel(sizes) or not shape
    )
    if not pieces:
        pieces = (Piece(next(iter(found.values()))[0][0], (0,) * len(shape)),)
    return Parts(shape, pieces[0].tensor.dtype, pieces)


def _numel(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _global_shape(value: Stub) -> tuple[int, ...] | None:
    # The arguments of a wrapper subclass: dtype, size, strides, storage offset, layout, device, requires_grad.
    shape = value.args[1] if len(value.args) > 1 else None
    return shape if isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape) else None


def _from_sharded_tensors(archives: list[Archive], name: str, held: Mapping[int, Stub]) -> Parts:
    shapes, pieces = set(), []
    for rank, value in held.items():
        file = archives[rank].file.path
        state = value.get("state")
        shape = _global_shape(value)
        if not isinstance(state, tuple) or not state or not isinstance(state[0], list) or shape is None:
            raise DamagedFile(file, f"tensor {name} is not a ShardedTensor that can be read")
        shapes.add(shape)
        pieces += [_sharded_piece(archives[rank], name, rank, shard) for shard in state[0]]
    if len(shapes) > 1:
        raise UserError(f"tensor {name} has the shapes {sorted(shapes)} on different ranks; mixed checkpoints?")
    if not pieces:
        raise UserError(f"tensor {name} has no shard on any rank")
    return Parts(shapes.pop(), pieces[0].tensor.dtype, tuple(pieces))


def _sharded_piece(archive: Archive, name: str, rank: int, shard: Any) -> Piece:
    tensor = shard.get("tensor") if isinstance(shard, Stub) else None
    metadata = shard.get("metadata") if isinstance(shard, Stub) else None
    if not isinstance(tensor, LazyTensor) or not isinstance(metadata, Stub):
        raise DamagedFile(archive.file.path, f"tensor {name} has a shard without a tensor")
    offsets, sizes = metadata.get("shard_offsets"), metadata.get("shard_sizes")
    if not isinstance(offsets, list) or any(type(offset) is not int for offset in offsets):
        raise DamagedFile(archive.file.path, f"tensor {name} has a shard without offsets")
    if tuple(sizes or ()) != tensor.shape:
        raise DamagedFile(archive.file.path, f"tensor {name} has a shard of {tensor.shape}, said to be {sizes}")
    placement = metadata.get("placement")
    writer = placement.get("_rank") if isinstance(placement, Stub) else None
    if writer is not None and writer != rank:
        raise UserError(
            f"{archive.file.path} is named as rank {rank}, but was saved by rank {writer}; give it its own name back"
        )
    return Piece(tensor, tuple(offsets))


def _compare_replicas(name: str, copies: list[tuple[LazyTensor, int]], loaded: Loaded) -> None:
    """Warn where ranks that should hold the same do not, as far as the stored checksums show."""
    first, first_rank = copies[0]
    for other, rank in copies[1:]:
        if other.dtype is not first.dtype:
            raise UserError(f"tensor {name} is {first.dtype.torch} on rank {first_rank}, {other.dtype.torch} on {rank}")
        if (first.storage.size, first.storage.crc) != (other.storage.size, other.storage.crc):
            loaded.warnings.append(f"ranks {first_rank} and {rank} hold different copies of {name}; the first is taken")
            return
