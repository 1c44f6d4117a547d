"""Models that are whole already: safetensors, or the pickles of older days, in one file or in several with an index.

    model.safetensors.index.json     {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors", ...}}

An index names files of its own folder; one that points elsewhere is refused.
"""

from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.model.assets import read_json
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, whole
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import SourceFile, Storage
from tbrm_bench.merge.source.dtypes import BY_NAME, DType
from tbrm_bench.merge.source.tensors import LazyTensor, contiguous_strides
from tbrm_bench.merge.source.unpickle import Archive
from tbrm_bench.weight_files import weight_files
from tbrm_bench.weights import read_header

NAME = "plain"
TITLE = "transformers"
FILES = "*.safetensors"


def find(folder: Path) -> Checkpoint | None:
    """Return a model of Hugging Face: safetensors, or pickles of older days."""
    found = weight_files(folder)
    if found is None:
        return None
    return Checkpoint(NAME, folder, (*([found.index] if found.index is not None else []), *found.files))


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the tables of all files; raises UserError where the index and the files disagree."""
    index = checkpoint.files[0] if checkpoint.files[0].name.endswith(".index.json") else None
    files = list(checkpoint.files) if index is None else _indexed(index)
    loaded = Loaded({}, [])
    homes: dict[str, Path] = {}
    for path in files:
        for name, parts in load_file(path, loaded).items():
            if name in homes:
                raise UserError(f"tensor {name} is in both {homes[name].name} and {path.name}; remove one of them")
            homes[name], loaded.tensors[name] = path, parts
    if index is not None:
        _compare(index, homes)
    return loaded


def load_file(path: Path, loaded: Loaded) -> dict[str, Parts]:
    """Return the tensors of one file, safetensors or pickle."""
    file = SourceFile(path)
    loaded.files.append(file)
    if path.suffix == ".safetensors":
        return {tensor.name: _stored(file, tensor) for tensor in read_header(path)}
    archive = Archive(file)
    if not archive.has_checksums:
        loaded.warnings.append(f"{path.name} was saved without checksums: flipped bits in it cannot be noticed")
    value: Any = archive.value
    for key in ("state_dict", "model", "module"):  # what trainers wrap a state dict in
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise DamagedFile(path, "it holds no state dict")
    loaded.dropped += [(name, "not a tensor") for name, tensor in value.items() if not isinstance(tensor, LazyTensor)]
    return {name: whole(tensor) for name, tensor in value.items() if isinstance(tensor, LazyTensor)}


def _stored(file: SourceFile, tensor: Any) -> Parts:
    dtype = BY_NAME.get(tensor.dtype)
    if dtype is None:
        raise UserError(f"{file.path}: tensor {tensor.name} has the type {tensor.dtype}, which is not known here")
    storage = Storage(file, tensor.start, tensor.stop - tensor.start, None)
    lazy = LazyTensor(storage, dtype, 0, tensor.shape, contiguous_strides(tensor.shape))
    if lazy.nbytes != storage.size:
        raise DamagedFile(
            file.path, f"tensor {tensor.name} of shape {tensor.shape} has {storage.size} bytes, not {lazy.nbytes}"
        )
    return whole(lazy)


def _indexed(index: Path) -> list[Path]:
    weight_map = _weight_map(index)
    names = dict.fromkeys(weight_map.values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name in (".", "..") or "\\" in name:
            raise UserError(f"{index} points outside of its folder, to {name!r}; a real index names files beside it")
        if not (index.parent / name).is_file():
            raise UserError(f"{index.parent} lacks {name}, which {index.name} names; copy it too")
    return [index.parent / name for name in names]


def _compare(index: Path, homes: dict[str, Path]) -> None:
    weight_map = _weight_map(index)
    for name in weight_map.keys() | homes.keys():
        said, found = weight_map.get(name), homes[name].name if name in homes else None
        if said != found:
            raise UserError(f"{index} has tensor {name} in {said}, it lies in {found}; write or copy the folder again")


def _weight_map(index: Path) -> dict[str, Any]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index} has no weight_map; write or copy the folder again")
    return weight_map
