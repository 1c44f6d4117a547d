"""Checkpoints that were merged on the way to something else, kept under a key of their content.

~/.cache/tbench/merged/3f0c.../    a model folder like any other; delete it when the space is needed
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from tbrm_bench.merge.assets import find_assets
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.detect import detect
from tbrm_bench.merge.flow import merge
from tbrm_bench.merge.folder import disk_errors
from tbrm_bench.merge.formats import plain
from tbrm_bench.merge.formats.lora import find_base
from tbrm_bench.merge.manifest import NAME, source_files
from tbrm_bench.merge.places import cache_dir
from tbrm_bench.provenance import digest

FORMAT = 1  # of what a merge makes: a new number makes old entries unused


def is_model(folder: Path) -> bool:
    """Whether the folder is a Hugging Face model as it stands: a config and its weights."""
    return (folder / "config.json").is_file() and plain.find(folder) is not None


def merged(source: Path) -> Path:
    """Return the folder of the checkpoint merged as it is stored; the same content is merged once.

    Raises UserError for what `merge` refuses: no checkpoint, several steps, no tokenizer.
    """
    checkpoint = detect(source)
    folder = cache_dir() / "merged" / _key(checkpoint)
    with _locked(folder):
        if not (folder / NAME).is_file():
            merge(checkpoint.root, folder)
    return folder


def _key(checkpoint: Checkpoint) -> str:
    base = find_base(checkpoint, None)
    assets = find_assets(checkpoint, base)
    beside = {name: hashlib.sha256(path.read_bytes()).hexdigest() for path, name in assets.files}
    below = plain.find(base) if base is not None else None
    weights = source_files(checkpoint), source_files(below) if below is not None else []
    settings = [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(checkpoint.root.glob("**/*.json"))
        if file.name in ("lora_train_meta.json", "adapter_config.json")
    ]
    return digest([FORMAT, checkpoint.format, weights, assets.config, beside, settings])[:32]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time merge to the folder; the others wait and find it there."""
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
