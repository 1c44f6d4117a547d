"""What a merge needs of its machine before and during the work: memory, and room on the disk."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from tbrm_bench.errors import RunFailed

SPARE_BYTES = 1 << 24  # for the config, the tokenizer and the file system's own tables


@contextlib.contextmanager
def memory_errors(source: Path) -> Iterator[None]:
    """Turn every sign of too little memory into one line; it says nothing about the checkpoint."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        lacking = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        if not lacking and "can't start new thread" not in str(error):
            raise
        raise RunFailed(
            f"not enough memory to read {source} ({str(error) or 'no more was given'}); its files are not at fault: "
            "raise the memory limit (ulimit -v, the container's or the job's), end other programs, or use --workers 1"
        ) from error


def check_space(folder: Path, needed: int) -> None:
    """Raise RunFailed if the disk lacks the room, before anything is written."""
    free, needed = shutil.disk_usage(folder).free, needed + SPARE_BYTES
    if free < needed:
        raise RunFailed(
            f"the merged model needs {needed / 1e6:,.1f} MB and the disk of {folder.parent.parent} has "
            f"{free / 1e6:,.1f} MB free; free some space, give a folder on another disk, or --dtype bfloat16"
        )
