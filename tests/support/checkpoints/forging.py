"""Small checkpoints made without any trainer, honest and forged: what the merge's own tests are built of."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.unpickle import Archive
from tbrm_bench.resources import builtin_model_dir

TINY = builtin_model_dir("tiny")
RANK_FILE = "model_world_size_1_rank_0.pt"


def tiny_state() -> dict[str, torch.Tensor]:
    """Return the bundled model's weights."""
    from safetensors.torch import load_file

    return dict(load_file(TINY / "model.safetensors"))


def save_actor(folder: Path, state: Mapping[str, Any] | None = None) -> Path:
    """Write the bundled model, or another state, as verl's folder of one rank, with config and tokenizer."""
    home = folder / "huggingface"
    home.mkdir(parents=True)
    for file in TINY.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, home / file.name)
    torch.save(dict(tiny_state() if state is None else state), folder / RANK_FILE)
    return folder


def set_config(folder: Path, **change: Any) -> None:
    """Change keys of a checkpoint's config; None takes a key away."""
    file = folder / "huggingface" / "config.json"
    config = json.loads(file.read_text()) | change
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def open_saved(path: Path, value: Any) -> Archive:
    """Save a value with torch and open it with the merge's reader."""
    torch.save(value, path)
    return Archive(SourceFile(path))


def forge(path: Path, data: bytes, *, members: Mapping[str, bytes] | None = None, compress: bool = False) -> Path:
    """Write an archive like torch.save's around any pickle, with valid checksums."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in {"data.pkl": data, "byteorder": b"little", **(members or {}), "version": b"3\n"}.items():
            archive.writestr(f"{path.stem}/{name}", content)
    return path


def pickle_call(module: str, name: str, *args: Any) -> bytes:
    """Return a pickle that calls module.name(*args) when it is loaded without care."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=2)
    pickler.dump(args)
    body = stream.getvalue()[2:-1]  # without the protocol and the end
    return b"\x80\x02" + f"c{module}\n{name}\n".encode() + body + b"R."
