"""Placeholder."""

from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.dtypes import DType
from tbrm_bench.merge.plan import Loaded


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Not there yet."""
    raise UserError(f"{checkpoint.root}: {checkpoint.format} is not read yet")


def apply(checkpoint: Checkpoint, loaded: Loaded, *, base: Path | None, alpha: float | None) -> Path | None:
    """Not there yet."""
    return None
