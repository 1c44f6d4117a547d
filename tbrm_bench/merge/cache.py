"""Checkpoints that were merged on the way to something else, kept under a key of their content.

~/.cache/tbench/merged/3f0c.../    a model folder like any other; delete it when the space is needed
"""

from pathlib import Path

from tbrm_bench.disk import disk_errors
from tbrm_bench.files import FileLock
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.detect import detect
from tbrm_bench.merge.flow import merge
from tbrm_bench.merge.formats import plain
from tbrm_bench.merge.formats.lora import find_base
from tbrm_bench.merge.model.assets import find_assets
from tbrm_bench.merge.model.manifest import NAME, source_files
from tbrm_bench.merge.places import cache_dir
from tbrm_bench.provenance import digest, file_sha256

FORMAT = 1  # of what a merge makes: a new number makes old entries unused


def is_model(folder: Path) -> bool:
    """Whether the folder is a Hugging Face model as it is: a config and its weights."""
    return (folder / "config.json").is_file() and plain.find(folder) is not None


def merged(source: Path) -> Path:
    """Return the folder of the checkpoint merged as it is stored; the same content is merged once.

    Raises UserError for what `merge` refuses: no checkpoint, several steps, no tokenizer.
    """
    checkpoint = detect(source)
    folder = cache_dir() / "merged" / _key(checkpoint)
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    # One process at a time merges to the folder; the others wait and find it there.
    with FileLock(folder.with_suffix(".lock"), f"{folder} is being merged by", wait=True):
        if not (folder / NAME).is_file():
            merge(checkpoint.root, folder)
    return folder


def _key(checkpoint: Checkpoint) -> str:
    base = find_base(checkpoint, None)
    assets = find_assets(checkpoint, base)
    beside = {name: file_sha256(path) for path, name in assets.files}
    below = plain.find(base) if base is not None else None
    weights = source_files(checkpoint), source_files(below) if below is not None else []
    settings = [
        file_sha256(file)
        for file in sorted(checkpoint.root.glob("**/*.json"))
        if file.name in ("lora_train_meta.json", "adapter_config.json")
    ]
    return digest([FORMAT, checkpoint.format, weights, assets.config, beside, settings])[:32]
