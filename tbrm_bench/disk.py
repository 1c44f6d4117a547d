"""What a disk's refusals mean to a person: every OSError becomes one line and one exit code.

    with disk_errors(path):
        ...

The codes, for every command: **2** if a path cannot be used as it was given (missing, of another kind, not permitted,
read-only, too long, a loop of links, a lock's file that is a link); **1** if it could be and the work failed all the
same (no room, a quota, a limit on the file size, an I/O error, a lock that another process holds).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a path can be at fault for; everything else is the disk's or the machine's.
OF_PATHS = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EXDEV,
        errno.EBUSY,
        errno.ENXIO,
        errno.ENODEV,
        errno.EOPNOTSUPP,
        errno.ETXTBSY,
        errno.EILSEQ,
    }
)
MAX_SHOWN = 200  # characters of a path in a message


def user_error(error: OSError, path: Path | None = None, *, verb: str = "used", kept: str = "") -> UserError:
    """Return the one line of what the system said about `path`, or about the path in the error.

    `verb` is what was to be done with it; `kept` says what a full disk did not lose.
    """
    name = shown(path) if path is not None else _name_in(error)
    reason = error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[0]
    if error.errno in FULL:
        kept = f"{kept}; " if kept else ""
        return RunFailed(f"no room to write {name} ({reason}); {kept}free some space and run the same command again")
    line = f"{name} cannot be {verb}: {reason}"
    return UserError(f"{line}; give another path") if error.errno in OF_PATHS else RunFailed(line)


@contextlib.contextmanager
def disk_errors(path: Path, *, verb: str = "written", kept: str = "") -> Iterator[None]:
    """Turn what the system says while the block uses `path` into one line; see `user_error`.

    Too little memory is a MemoryError, and a reader of stdout that has left is nobody's disk.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(error.strerror) from error
        raise user_error(error, path, verb=verb, kept=kept) from error


def shown(path: Path | str) -> str:
    """Return a path as a message names it: whole, or without its middle."""
    text = os.fsdecode(path)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 4 :]}"


def _name_in(error: OSError) -> str:
    named = error.filename2 or error.filename
    if isinstance(named, str | bytes | Path):
        return shown(os.fsdecode(named))
    return "the working directory" if error.errno == errno.ENOENT else "the disk"


def expanded(path: Path | str) -> Path:
    """Return a path with `~` replaced; raises UserError where no home folder is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{shown(path)}: no home folder is known; set HOME, or give the whole path") from None
