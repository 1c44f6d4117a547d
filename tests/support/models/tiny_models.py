"""Folders with the bundled model, or with what became of it: for tests of what is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tbrm_bench.resources import builtin_model_dir

Tensors = dict[str, np.ndarray]


def _float32(tensors: Path) -> Tensors:
    from safetensors.torch import load_file as load_torch

    return {name: tensor.float().numpy() for name, tensor in load_torch(tensors).items()}


TENSORS = _float32(builtin_model_dir("tiny") / "model.safetensors")
OTHER: Tensors = {name: value + 1 for name, value in TENSORS.items()}


def copy_of_tiny(folder: Path, **config: Any) -> Path:
    """Copy all but the weights; `config` overrides keys of config.json."""
    shutil.copytree(builtin_model_dir("tiny"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def save(folder: Path, tensors: Tensors, name: str = "model.safetensors") -> None:
    """Write one file of weights."""
    save_file(tensors, folder / name, metadata={"format": "pt"})


def save_shards(folder: Path, tensors: Tensors, *, num: int = 2) -> None:
    """Write several, with their index."""
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(num):
        file = f"model-{shard + 1:05d}-of-{num:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::num]}
        save(folder, part, file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(value.nbytes for value in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
