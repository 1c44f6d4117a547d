"""Distributed checkpoints of torch (DCP), also as accelerate writes them.

    pytorch_model_fsdp_0/.metadata       a pickle: shapes and chunks of every tensor, where each chunk lies
    pytorch_model_fsdp_0/__0_0.distcp    one torch.save after the other, one per chunk

A state dict of several parts (model, optimizer, counters) is flattened into names with dots; `.metadata` keeps the path
of each. The model is the part called model, module, state_dict or app.model, or all tensors if there are no parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, Piece
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.file_names import files_in
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import MAX_PICKLE_BYTES, Archive, restricted_load

NAME = "dcp"
TITLE = "torch's distributed checkpoint (accelerate)"
FILES = ".metadata"
MODEL_PARTS = (("model",), ("module",), ("state_dict",), ("app", "model"), ("state", "model"), ("actor",), ("policy",))
OTHER_PARTS = {"optimizer", "optim", "optimizers", "optimizer_states", "lr_scheduler", "scheduler", "dataloader", "rng"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk of a tensor begins, how large it is, and its bytes in a file."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


def find(folder: Path) -> Checkpoint | None:
    """Return a distributed checkpoint of torch."""
    files = sorted(path for path in files_in(folder) if path.suffix == ".distcp")
    if (folder / ".metadata").is_file():
        return Checkpoint(NAME, folder, (folder / ".metadata", *files), max(1, len(files)))
    if files:
        raise UserError(f"{folder} holds *.distcp files but no .metadata, which says what is in them; copy it too")
    return None


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the model's tensors; raises UserError where chunks are missing, doubled or of another size."""
    path = checkpoint.root / ".metadata"
    metadata = _read_metadata(path)
    tensors = _table(path, metadata.get("state_dict_metadata"))
    places = _places(path, metadata.get("storage_data"))
    planner = metadata.get("planner_data")
    names = _model_names(path, list(tensors), planner if isinstance(planner, dict) else {})
    files: dict[str, SourceFile] = {}
    loaded = Loaded({}, [])
    used: dict[tuple[str, int], str] = {}
    checksums = True
    for fqn, name in names.items():
        shape, chunks = tensors[fqn]
        pieces: list[Piece] = []
        for offsets, sizes in chunks:
            place = places.get((fqn, offsets))
            if place is None:
                raise DamagedFile(path, f"it does not say where the chunk of {fqn} at {offsets} lies")
            if place[:2] in used:
                raise DamagedFile(path, f"it says that {fqn} and {used[place[:2]]} lie at the same place")
            used[place[:2]] = fqn
            archive = _open(checkpoint, files, Chunk(offsets, sizes, *place))
            checksums = checksums and archive.has_checksums
            pieces.append(Piece(_chunk_tensor(archive, fqn, sizes), offsets))
        loaded.tensors[name] = Parts(shape, pieces[0].tensor.dtype, tuple(pieces))
    loaded.files = list(files.values())
    if not checksums:
        loaded.warnings.append("the chunks were saved without checksums: flipped bits in them cannot be noticed")
    return loaded


def _read_metadata(path: Path) -> Stub:
    file = SourceFile(path)
    if file.size > MAX_PICKLE_BYTES:
        raise DamagedFile(path, f"it has {file.size} bytes, beyond any real one")
    value = restricted_load(path, file.read(0, file.size))
    if not isinstance(value, Stub) or value.kind != "Metadata":
        raise DamagedFile(path, "it holds no metadata of a distributed checkpoint")
    return value


def _table(
    path: Path, entries: Any
) -> dict[str, tuple[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...]]]]]:
    """Return shape and chunks of every tensor; what is not one (counters, schedulers) is left out."""
    if not isinstance(entries, dict):
        raise DamagedFile(path, "it has no table of tensors")
    found = {}
    for fqn, entry in entries.items():
        if not isinstance(entry, Stub) or entry.kind != "TensorStorageMetadata":
            continue
        shape, chunks = entry.get("size"), entry.get("chunks")
        if not _is_shape(shape) or not isinstance(chunks, list) or not chunks or not isinstance(fqn, str):
            raise DamagedFile(path, f"its entry for {fqn!r} has no shape or no chunks")
        boxes = [(chunk.get("offsets"), chunk.get("sizes")) for chunk in chunks if isinstance(chunk, Stub)]
        if len(boxes) != len(chunks) or not all(_is_shape(offsets) and _is_shape(sizes) for offsets, sizes in boxes):
            raise DamagedFile(path, f"its entry for {fqn!r} has a chunk without a place")
        found[fqn] = (shape, list(dict.fromkeys(boxes)))
    return found


def _places(path: Path, entries: Any) -> dict[tuple[str, tuple[int, ...]], tuple[str, int, int]]:
    if not isinstance(entries, dict):
        raise DamagedFile(path, "it does not say where the chunks lie")
    found = {}
    for index, info in entries.items():
        if not isinstance(index, Stub) or not isinstance(info, Stub):
            raise DamagedFile(path, "its table of places is broken")
        offset = index.get("offset")
        if offset is None:
            continue  # not a tensor
        place = (info.get("relative_path"), info.get("offset"), info.get("length"))
        if not isinstance(place[0], str) or type(place[1]) is not int or type(place[2]) is not int:
            raise DamagedFile(path, f"the place of {index.get('fqn')} is broken")
        if info.get("transform_descriptors"):
            raise UserError(
                f"{path}: {index.get('fqn')} is stored compressed, which is not read; save without extensions"
            )
        found[index.get("fqn"), offset] = place
    return found


def _model_names(path: Path, fqns: list[str], planner: Mapping[str, Any]) -> dict[str, str]:
    """Return the model's tensors: flattened name -> name in the model's own state dict."""
    paths: dict[str, tuple[str, ...]] = {}
    for fqn in fqns:
        keys = planner.get(fqn)
        paths[fqn] = tuple(str(key) for key in keys) if isinstance(keys, tuple) and keys else (fqn,)
    for part in MODEL_PARTS:
        inside = {
            fqn: keys[len(part) :] for fqn, keys in paths.items() if keys[: len(part)] == part and keys[len(part) :]
        }
        if inside:
            return {fqn: ".".join(keys) for fqn, keys in inside.items()}
    rest = {fqn: ".".join(keys) for fqn, keys in paths.items() if keys[0].partition(".")[0] not in OTHER_PARTS}
    if not rest:
        raise UserError(f"{path.parent} holds no tensors of a model; is it the optimizer's folder?")
    return rest


def _open(checkpoint: Checkpoint, files: dict[str, SourceFile], chunk: Chunk) -> Archive:
    relative = PurePosixPath(chunk.file)
    if relative.is_absolute() or ".." in relative.parts:
        raise DamagedFile(checkpoint.root / ".metadata", f"it points outside of its folder, to {chunk.file!r}")
    if chunk.file not in files:
        if not (checkpoint.root / relative).is_file():
            raise UserError(f"{checkpoint.root} lacks {chunk.file}; copy the files of all ranks into it")
        files[chunk.file] = SourceFile(checkpoint.root / relative)
    return Archive(files[chunk.file], chunk.start, chunk.length)


def _chunk_tensor(archive: Archive, fqn: str, sizes: tuple[int, ...]) -> LazyTensor:
    tensor = archive.value
    if not isinstance(tensor, LazyTensor):
        raise DamagedFile(archive.file.path, f"a chunk of {fqn} is not a tensor")
    if tensor.shape != sizes:
        raise DamagedFile(archive.file.path, f"a chunk of {fqn} has the shape {tensor.shape}, not {sizes}")
    return tensor


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(size) is int and size >= 0 for size in value)
