"""The nouns of merging: what was found, what was made of it, what a check says."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk, recognised by its files' names; nothing is opened for it.

    `format` is the NAME of a module of `formats`. `files` are the model's, in the order of ranks where there
    are any. `homes` are the folders in which config and tokenizer may lie, nearest first. `step` is None where no
    folder name has it.
    """

    format: str
    root: Path
    files: tuple[Path, ...]
    world_size: int = 1
    step: int | None = None
    homes: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """The size of the model files."""
        return sum(file.stat().st_size for file in self.files)


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge wrote. `dropped` are stored names that the model does not need, each with the reason."""

    output: Path
    format: str
    world_size: int
    step: int | None
    num_tensors: int
    num_bytes: int
    dtypes: tuple[str, ...]
    files: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]
    tied: tuple[tuple[str, str], ...]  # (name that is not stored, the name it shares its values with)
    fingerprint: str
    verified: bool  # against the model class of the config
    seconds: float
    unverified: str = ""  # why names and shapes were not held against the class; empty if they were
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Whether a merged folder holds exactly what its source holds. `differing`: names, each with what is wrong."""

    equal: bool
    num_tensors: int
    num_bytes: int
    fingerprint: str
    differing: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    unverified: str = ""  # why names and shapes were not held against the model's class; empty if they were
    manifest: dict[str, Any] = field(default_factory=dict)
