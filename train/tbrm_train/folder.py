"""A model's folder appears whole or not at all, and never in place of another one.

with new_folder(Path("runs/tiny-sft")) as draft:    # runs/.tiny-sft-k3x9/model
    ...                                             # train, write into draft
# runs/tiny-sft is there, or an error was raised and it is not
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError


def check_free(output: Path) -> None:
    """Raise UserError if something stands where the folder, or one above it, shall be; an empty folder may."""
    with disk_errors(output):
        if output.is_dir() and not any(output.iterdir()):
            return
        if output.exists() or output.is_symlink():
            what = "already holds files" if output.is_dir() else "is not a folder"
            raise UserError(f"{output} {what}; give another folder, output=DIR, or remove it")
        nearest = next(parent for parent in output.absolute().parents if parent.exists())
        if not nearest.is_dir():
            raise UserError(f"{nearest} is not a folder, so {output} cannot be one; give another, output=DIR")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Yield a draft folder to write into; it becomes `output` when the block ends well, else nothing is left.

    It is made at once, so that a place where nothing can be written is known before the work and not after it. Raises
    UserError if `output` is taken, RunFailed if the disk refuses.
    """
    check_free(output)
    # An empty folder may be a mount point, which cannot be replaced: there the draft's files move one by one.
    is_there = output.is_dir()
    home = output if is_there else output.parent
    with disk_errors(output):
        home.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=home)
    with beside:
        draft = Path(beside.name) / "model"
        draft.mkdir()
        yield draft
        with disk_errors(output):
            if is_there:
                for file in sorted(draft.iterdir()):
                    file.rename(output / file.name)
            else:
                draft.rename(output)


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn what the system says about a disk into one line."""
    try:
        yield
    except OSError as error:
        raise RunFailed(f"{output} cannot be written: {error.strerror or error}; mend it or give output=DIR") from None
