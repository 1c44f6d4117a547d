"""Files that are whole or not there, and what a full or read-only disk looks like to a person."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# SQLite's own names for them; an I/O error is what a quota or a limit on the file size looks like to it.
FULL_CODES = ("SQLITE_FULL", "SQLITE_IOERR")
READ_ONLY_CODES = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
BROKEN_CODES = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def write_text_atomically(file: Path, text: str) -> None:
    """Write a file that is either the old one or the whole new one, also after a crash."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
        _sync_folder(file.parent)
    finally:
        beside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told_to_people(run_dir: Path) -> Iterator[None]:
    """Turn what disks and SQLite say into one line; what is stored stays stored."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(FULL_CODES):
            raise RunFailed(_full(run_dir, str(error))) from error
        if code.startswith(READ_ONLY_CODES):
            raise UserError(_read_only(run_dir, str(error))) from error
        if code.startswith(BROKEN_CODES):
            raise damaged(run_dir / "samples.sqlite", str(error)) from error
        raise
    except OSError as error:
        if error.errno in FULL:
            raise RunFailed(_full(run_dir, error.strerror or "")) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
            raise UserError(_read_only(run_dir, error.strerror or "")) from error
        raise


def damaged(file: Path, reason: str) -> UserError:
    """Return what to say of a database that cannot be right."""
    return UserError(f"{file} is damaged ({reason}); restore it from a copy, or start in another folder")


def _full(run_dir: Path, reason: str) -> str:
    return (
        f"no room to write to {run_dir} ({reason}); every sample stored so far is kept: "
        "free some space and give the same command again"
    )


def _read_only(run_dir: Path, reason: str) -> str:
    return f"{run_dir} cannot be written to ({reason}); nothing was generated: choose another folder with --out"
