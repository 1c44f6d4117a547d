"""Which files of a folder are the model's weights: one rule for the fingerprint, the check and every engine.

    config.json  model-00001-of-00002.safetensors  model-00002-of-00002.safetensors  model.safetensors.index.json
    consolidated.safetensors  params.json          the same model in Mistral's own format: left out
    adapter_config.json  adapter_model.safetensors an adapter beside a whole model: left out

The order is that of transformers (`_get_resolved_checkpoint_files`): model.safetensors, the shards of its index,
pytorch_model.bin, the shards of its index. vLLM takes every *.safetensors (else every *.bin) that an index does not
leave out, and consolidated*.safetensors before all others; transformers applies an adapter that it finds. Where the two
would read anything else than what is chosen here, `is_found` is False and the folder is read through a view.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import UserError

SAFE, PICKLE = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
NATIVE = "consolidated"  # Mistral's own format
NATIVE_PATTERN = f"{NATIVE}*.safetensors"
ADAPTER_CONFIG, ADAPTER = "adapter_config.json", "adapter_model"
# What begins like this is never a model's weights.
OTHER_BINARIES = ("optimizer", "scheduler", "training_args", "rng_state", ADAPTER, "random_states")
# What vLLM leaves out by itself where it reads *.bin.
_KNOWN_BINARIES = ("training_args.bin", "optimizer.bin")
_SHARD = re.compile(r".*-(\d+)-of-(\d+)\.(?:safetensors|bin)")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The chosen files; `index` is the one that names them, None where there is none.

    `left_out` are the files beside them that some engine would read; `is_found`: every engine finds exactly `files`.
    """

    files: tuple[Path, ...]
    index: Path | None
    left_out: tuple[Path, ...]
    is_found: bool

    @property
    def is_pickled(self) -> bool:
        """Whether they are pickles of torch."""
        return self.files[0].suffix == ".bin"

    @property
    def adapters(self) -> tuple[Path, ...]:
        """The files of an adapter among those that are left out."""
        return tuple(file for file in self.left_out if file.name == ADAPTER_CONFIG or file.name.startswith(ADAPTER))


def weight_files(folder: Path) -> WeightFiles | None:
    """Return the weights of a model folder, None where it holds none.

    Raises UserError if a file is missing that an index or a shard's number names, or if two files claim to be the
    model.
    """
    names = {path.name: path for path in _listed(folder)}
    safetensors = sorted(path for name, path in names.items() if name.endswith(".safetensors"))
    binaries = sorted(path for name, path in names.items() if name.endswith(".bin") and name not in _KNOWN_BINARIES)
    adapter = [names[ADAPTER_CONFIG]] if ADAPTER_CONFIG in names else []
    if SAFE in names or SAFE + INDEX in names:
        files, index = _official(folder, SAFE, names)
        # Beside an index vLLM reads what it names, but for Mistral's format.
        strays = [path for path in safetensors if index is None or path.match(NATIVE_PATTERN)]
        stale = [names[SAFE + INDEX]] if index is None and SAFE + INDEX in names else []
        hidden = [*strays, *stale, *folder.glob(f"*/{NATIVE_PATTERN}")]
        return _chosen(files, index, [*hidden, *adapter])
    if PICKLE in names or PICKLE + INDEX in names:
        files, index = _official(folder, PICKLE, names)
        stale = [names[PICKLE + INDEX]] if index is None and PICKLE + INDEX in names else []
        return _chosen(files, index, [*safetensors, *binaries, *stale, *adapter])
    own = [path for path in safetensors if not path.name.startswith((*OTHER_BINARIES, NATIVE))]
    native = [path for path in safetensors if path.name.startswith(NATIVE)]
    pickles = [path for path in binaries if path.name.startswith("pytorch_model")]
    for files in (own, native, pickles):
        if files:
            _check_numbers(folder, files)
            return _chosen(files, None, [*safetensors, *adapter], is_named=False)
    return None


def index_of(file: Path) -> dict[str, str]:
    """Return tensor -> shard; raises UserError if the file is not an index, or names a shard outside of its folder."""
    try:
        weight_map = dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file} is not an index of weights: {error!r}; download or write it again") from error
    if not weight_map:
        raise UserError(f"{file} has no weight_map; write or copy the folder again")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or name in (".", "..") or "\\" in name:
            raise UserError(f"{file} points outside of its folder, to {name!r}; a real index names files beside it")
    return weight_map


def _official(folder: Path, name: str, names: dict[str, Path]) -> tuple[list[Path], Path | None]:
    """Return the files under their official names and the index, if it is the one that names them."""
    index = names.get(name + INDEX)
    if index is None:
        return [names[name]], None
    weight_map = index_of(index)
    shards = sorted(set(weight_map.values()))
    missing = [(tensor, shard) for tensor, shard in weight_map.items() if shard not in names]
    if name not in names:
        for tensor, shard in missing:
            raise UserError(
                f"{index.name} says that {tensor!r} is in {shard}, but it is in no file; is the download to {folder} "
                "complete?"
            )
        return [names[shard] for shard in shards], index
    if name in shards and not missing:
        return [names[shard] for shard in shards], index
    if missing:  # an index that an earlier save left behind
        return [names[name]], None
    raise UserError(
        f"{folder} holds two models: {name}, and {shards[0]} and others that {index.name} names; engines differ in "
        "which they read: remove the one that is not meant (the shards with their index)"
    )


def _chosen(files: list[Path], index: Path | None, readable: list[Path], *, is_named: bool = True) -> WeightFiles:
    left_out = tuple(path for path in dict.fromkeys(readable) if path not in files)
    if any(path.name == ADAPTER_CONFIG for path in left_out):
        folder = files[0].parent
        left_out += tuple(path for path in sorted(folder.glob(f"{ADAPTER}*")) if path not in left_out)
    return WeightFiles(tuple(files), index, left_out, is_found=is_named and not left_out)


def _check_numbers(folder: Path, files: list[Path]) -> None:
    """Raise UserError if one of model-00001-of-00003, ... is not there; without an index only the names show it."""
    numbered = [match for path in files if (match := _SHARD.fullmatch(path.name))]
    for total in {int(match[2]) for match in numbered}:
        have = {int(match[1]) for match in numbered if int(match[2]) == total}
        if len(have) < total:
            raise UserError(
                f"{folder} holds {len(have)} of {total} numbered weight files and no index; is the download complete?"
            )


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error
