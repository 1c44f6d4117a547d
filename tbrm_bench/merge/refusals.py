"""What can be wrong with a checkpoint, as one line each.

error: model_world_size_4_rank_2.pt is damaged: it has no end: cut short while it was written or copied; copy it
again from where it was written
"""

from pathlib import Path

from tbrm_bench.errors import UserError


class DamagedFile(UserError):
    """A file does not hold what its format promises."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{file} is damaged: {what}; copy it again from where it was written")


class UnsafePickle(UserError):
    """A pickle names something that no checkpoint needs; nothing of it was executed."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(
            f"{file} refers to {name}, which no checkpoint format needs: it was not loaded and nothing was executed; "
            "save the weights alone (a state dict of tensors)"
        )


class UnknownFormat(UserError):
    """A folder holds no checkpoint that can be read here."""
