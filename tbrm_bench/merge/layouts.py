"""How each format's folder looks: one function a format, which returns a Checkpoint or None.

They look at names only. A folder that is of a format but not whole (a rank is missing) is an error, not None.
"""

import json
import re
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.problems import UnknownFormat
from tbrm_bench.weight_files import weight_files

FSDP_FILE = re.compile(r"model_world_size_(\d+)_rank_(\d+)\.pt")
MODEL_STATES = re.compile(r"(?:zero_pp_rank_(\d+)_)?mp_rank_(\d+)_model_states\.pt")
OPTIM_STATES = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")


def fsdp(folder: Path) -> Checkpoint | None:
    """Rank files of FSDP: all ranks of one world size."""
    found = {(int(m[1]), int(m[2])): path for path in _files(folder) if (m := FSDP_FILE.fullmatch(path.name))}
    if not found:
        return None
    worlds = sorted({world for world, _ in found})
    if len(worlds) > 1:
        raise UserError(f"{folder} mixes files of world sizes {' and '.join(map(str, worlds))}; move one set away")
    world = worlds[0]
    said = _fsdp_config(folder / "fsdp_config.json")
    if said is not None and said != world:
        raise UserError(f"{folder}: fsdp_config.json says world size {said}, the files' names say {world}; mixed runs?")
    _complete(folder, {rank for _, rank in found}, world, "model_world_size_{0}_rank_{1}.pt")
    return Checkpoint("fsdp", folder, tuple(found[world, rank] for rank in range(world)), world)


def deepspeed(folder: Path) -> Checkpoint | None:
    """A tag's folder of DeepSpeed, plain or universal."""
    names = {path.name: path for path in _files(folder)}
    states = {name: match for name in names if (match := MODEL_STATES.fullmatch(name))}
    if not states:
        return None
    if (folder / "zero").is_dir():
        models = [names[name] for name in sorted(states, key=_rank_order)]
        return Checkpoint("universal", folder, (*models, *sorted(folder.glob("zero/*/fp32.pt"))))
    if any(int(match[2]) for match in states.values()):
        raise UnknownFormat(
            f"{folder} was written with model or pipeline parallelism (mp_rank_01), which is not merged here; "
            "turn it into a universal checkpoint with DeepSpeed's ds_to_universal.py first"
        )
    optim = {int(match[1]): names[name] for name in names if (match := OPTIM_STATES.fullmatch(name))}
    ranks = {int(match[1]): names[name] for name, match in states.items() if match[1] is not None}
    world = max((*optim, *ranks), default=0) + 1
    if ranks:
        _complete(folder, set(ranks), world, "zero_pp_rank_{1}_mp_rank_00_model_states.pt")
    if optim:
        _complete(folder, set(optim), world, "zero_pp_rank_{1}_mp_rank_00_optim_states.pt")
    elif ranks:
        raise UserError(f"{folder} holds no *_optim_states.pt, where ZeRO-3 keeps the weights; copy them too")
    models = [ranks[rank] for rank in sorted(ranks)] or [names[name] for name in sorted(states)]
    return Checkpoint("deepspeed", folder, (*models, *(optim[rank] for rank in sorted(optim))), world)


def dcp(folder: Path) -> Checkpoint | None:
    """A distributed checkpoint of torch."""
    if not (folder / ".metadata").is_file():
        if any(path.suffix == ".distcp" for path in _files(folder)):
            raise UserError(f"{folder} holds *.distcp files but no .metadata, which says what is in them; copy it too")
        return None
    files = sorted(path for path in _files(folder) if path.suffix == ".distcp")
    return Checkpoint("dcp", folder, (folder / ".metadata", *files), max(1, len(files)))


def lora(folder: Path) -> Checkpoint | None:
    """An adapter of PEFT."""
    if not (folder / "adapter_config.json").is_file():
        return None
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).is_file():
            return Checkpoint("lora", folder, (folder / name,))
    raise UserError(f"{folder} holds adapter_config.json but no adapter_model.safetensors or .bin; copy it too")


def plain(folder: Path) -> Checkpoint | None:
    """A model of Hugging Face: safetensors, or pickles of older days."""
    found = weight_files(folder)
    if found is None:
        return None
    return Checkpoint("plain", folder, (*([found.index] if found.index is not None else []), *found.files))


def _rank_order(name: str) -> int:
    match = MODEL_STATES.fullmatch(name)
    return int(match[1] or 0) if match else 0


def megatron(folder: Path) -> Checkpoint | None:
    """Megatron's own formats are told apart to say that they are not read."""
    backend = folder / "metadata.json"
    is_dist = (folder / "dist_ckpt").is_dir() or (folder / "common.pt").is_file()
    if not is_dist and backend.is_file():
        is_dist = "sharded_backend" in backend.read_text(encoding="utf-8", errors="replace")[:4096]
    if is_dist or any((path / "model_optim_rng.pt").is_file() for path in folder.glob("mp_rank_*")):
        raise UnknownFormat(
            f"{folder} is a Megatron checkpoint, which is not merged here; export it with Megatron-Bridge or verl's "
            "model_merger --backend megatron"
        )
    return None


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


def _complete(folder: Path, ranks: set[int], world: int, pattern: str) -> None:
    missing = [rank for rank in range(world) if rank not in ranks]
    if missing:
        first = pattern.format(world, missing[0])
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder} lacks {first}{more} of {world} ranks; copy the files of all nodes into it")
    if beyond := sorted(rank for rank in ranks if rank >= world):
        raise UserError(f"{folder} has a file of rank {beyond[0]} in a world of {world}; mixed runs?")


def _fsdp_config(file: Path) -> int | None:
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8")).get("world_size")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    return value if isinstance(value, int) else None
