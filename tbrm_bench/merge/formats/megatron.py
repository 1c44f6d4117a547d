"""Megatron's own formats, recognised only to refuse them."""

from pathlib import Path

from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.pieces.tiling import Loaded
from tbrm_bench.merge.refusals import UnknownFormat
from tbrm_bench.merge.source.dtypes import DType

NAME = "megatron"
TITLE = "Megatron (refused, with the way out)"
FILES = ""


def find(folder: Path) -> Checkpoint | None:
    """Return None; raises UnknownFormat for a folder of Megatron's."""
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


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Nothing is loaded of what `find` refuses."""
    raise AssertionError(checkpoint.root)
