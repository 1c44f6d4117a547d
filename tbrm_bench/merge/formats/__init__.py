"""Every format of checkpoint that is recognised, one module each: `find` recognises it by file names, `load` reads it.

A new format is a module here and its name in the tuple below:

    NAME = "fsdp"                               as reports and manifests have it
    TITLE = "FSDP (verl and others)"            who writes it, for people
    FILES = "model_world_size_*_rank_*.pt"      by which a folder is recognised; empty for a format that is refused
    find(folder)                    the checkpoint in this very folder, or None; opens nothing but small text files, and
                                    raises UserError for one that is of the format but not whole
    load(checkpoint, wanted)        its tensors, lazily; `wanted` is the type that floats are going to be written in
"""

from pathlib import Path
from typing import Protocol

from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.formats import dcp, deepspeed, fsdp, lora, megatron, plain, universal
from tbrm_bench.merge.pieces.tiling import Loaded
from tbrm_bench.merge.source.dtypes import DType


class Format(Protocol):
    """What each module here has."""

    NAME: str
    TITLE: str
    FILES: str

    def find(self, folder: Path, /) -> Checkpoint | None:
        """Return the checkpoint that lies in the folder, None if it is of another format."""
        ...

    def load(self, checkpoint: Checkpoint, wanted: DType | None, /) -> Loaded:
        """Read the tables of a checkpoint of this format."""
        ...


# In the order in which a folder is asked about: a training's shards before the model that may lie beside them.
FORMATS: tuple[Format, ...] = (fsdp, megatron, universal, deepspeed, dcp, lora, plain)


def find(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in this very folder, None if it is of no format here."""
    return next((found for module in FORMATS if (found := module.find(folder)) is not None), None)


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the checkpoint's tables; raises UserError where its files do not make one whole."""
    return next(module for module in FORMATS if checkpoint.format == module.NAME).load(checkpoint, wanted)
