"""A merged model's folder: built beside its place and renamed when it is whole.

    models/.step-100.merging-9f3k2a/    while a merge runs; its file `lock` is held by the process
    models/step-100/                    appears at once, complete

A merge that was killed leaves the first, which nobody takes for a model; the next merge to the same place removes it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SPARE_BYTES = 1 << 24  # for the config, the tokenizer and the file system's own tables


def check_free(output: Path) -> None:
    """Raise UserError if `output` is there already; an empty folder may be."""
    if output.is_dir() and not output.is_symlink():
        if any(output.iterdir()):
            raise UserError(f"{output} already holds files; give another folder, or remove it")
    elif output.exists() or output.is_symlink():
        raise UserError(f"{output} is there already and is not a folder; give another name")


@contextlib.contextmanager
def draft_folder(output: Path) -> Iterator[Path]:
    """Yield a folder to write into; it becomes `output` when the block ends well, else nothing of it is left.

    Raises UserError if `output` is taken or another process merges to it, RunFailed if the disk refuses.
    """
    check_free(output)
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{output.name}.merging-"
        _remove_stale(output, prefix)
        draft = Path(tempfile.mkdtemp(prefix=prefix, dir=output.parent))
        lock = os.open(draft / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        model = draft / "model"
        model.mkdir()
        yield model
        with disk_errors(output):
            _sync(model)
            check_free(output)
            model.rename(output)
            _sync(output.parent)
    finally:
        os.close(lock)
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn what the system says about a disk into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunFailed(
                f"no room to write {output} ({error.strerror}); free some space or give a folder on another disk"
            ) from error
        if error.errno == errno.ENOMEM:
            raise MemoryError(error.strerror) from error
        raise UserError(f"{output} cannot be written: {error.strerror or error}; give another folder") from error


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
    """Raise RunFailed if the disk has not the room, before anything is written."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise RunFailed(
            f"the merged model needs {needed / 1e9:.2f} GB and the disk of {folder.parent.parent} has "
            f"{free / 1e9:.2f} GB free; free some space, give a folder on another disk, or --dtype bfloat16"
        )


def _remove_stale(output: Path, prefix: str) -> None:
    for draft in output.parent.glob(f"{prefix}*"):
        try:
            lock = os.open(draft / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            shutil.rmtree(draft, ignore_errors=True)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process merges to {output}; wait for it, or give another folder") from None
        else:
            shutil.rmtree(draft, ignore_errors=True)
        finally:
            os.close(lock)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
