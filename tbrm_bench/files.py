"""Files and folders that are whole or absent, and the locks of folders; modes follow the umask.

write_text(run_dir / "results.json", text)            the old file or the new one, also after a crash
with new_folder(Path("models/step-100")) as draft:    models/.step-100.draft-9f3k2a/new; renamed when it is whole
with FileLock(folder / ".lock", "the folder is in use by"):
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import socket
import stat
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self, TextIO

from tbrm_bench.disk import disk_errors, shown
from tbrm_bench.errors import RunFailed, UserError

MAX_HIDDEN = 200  # bytes of a name that a hidden one beside it begins with; file systems allow 255
DRAFT = ".draft-"
HOLDER = b"process "


def read_text(file: Path) -> str:
    """Return the text of a regular file; raises UserError for any other, and never waits for a pipe."""
    with disk_errors(file, verb="read"):
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, encoding="utf-8") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{shown(file)} cannot be read: it is not a regular file")
            try:
                return stream.read()
            except UnicodeDecodeError as error:
                raise UserError(f"{shown(file)} cannot be read: it is not UTF-8 text ({error})") from error


def write_text(file: Path, text: str) -> None:
    """Write a file that is either the old one or the whole new one, also after a crash; raises UserError."""
    write_files({file: text})


def write_files(contents: Mapping[Path, str], *, make_folders: bool = False) -> None:
    """Write files, in their order; none is touched before all the new ones lie on the disk. Raises UserError.

    `make_folders` makes the folders that are missing above them.
    """
    with contextlib.ExitStack() as stack:
        for file, text in reversed(list(contents.items())):  # the stack ends with the one that was entered last
            if make_folders:
                with disk_errors(file):
                    file.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(whole_file(file))
            with disk_errors(file):
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())


@contextlib.contextmanager
def whole_file(file: Path) -> Iterator[TextIO]:
    """Yield a text stream; what is written to it becomes `file` when the block ends well, else nothing of it is left.

    A link is replaced, not followed. The mode is the umask's.
    """
    beside = file.with_name(f"{_hidden(file.name)}.{secrets.token_hex(4)}")
    try:
        with disk_errors(file):
            if file.is_dir():  # known before the work, and before another file is renamed
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with beside.open("x", encoding="utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(file)
            _sync(file.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_named(file: Path, text: str) -> None:
    """Write a file that a person named: through a link, into a pipe or device, else as `write_text` does."""
    with disk_errors(file), contextlib.suppress(FileNotFoundError):
        mode = file.stat().st_mode  # a loop of links is an error
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            file.write_text(text, encoding="utf-8")
            return
    write_text(Path(os.path.realpath(file)) if file.is_symlink() else file, text)


def check_free(output: Path) -> None:
    """Raise UserError if something else is at this path or above it; an empty folder is fine."""
    with disk_errors(output):
        if output.is_dir():
            if any(not _is_draft(entry, output) for entry in output.iterdir()):
                raise UserError(f"{shown(output)} already holds files; give another folder, or remove it")
        elif output.exists() or output.is_symlink():
            raise UserError(f"{shown(output)} is not a folder; give another name")
        nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
        if not nearest.is_dir():
            raise UserError(f"{shown(nearest)} is not a folder, so {shown(output)} cannot be one; give another name")


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Yield a folder to write into; it becomes `output` when the block ends well, else nothing of it is left.

    It is made at once, so that an unwritable path is known before the work. A killed process leaves
    a hidden draft, which nothing mistakes for the folder and the next call removes. Raises UserError if `output` is
    taken, RunFailed if another process writes it or the disk fails.
    """
    check_free(output)
    # An empty folder may be a mount point, which cannot be replaced: there the draft's files move one by one.
    is_there = output.is_dir()
    home = output if is_there else output.parent
    with disk_errors(output):
        home.mkdir(parents=True, exist_ok=True)
        _remove_stale(output, home)
        beside = Path(tempfile.mkdtemp(prefix=_hidden(output.name) + DRAFT, dir=home))
    try:
        with FileLock(beside / "lock", f"{shown(output)} is being written by"):
            draft = beside / "new"
            with disk_errors(output):
                draft.mkdir()
            yield draft
            with disk_errors(output):
                settle(draft)
                check_free(output)
                if is_there:
                    for file in sorted(draft.iterdir()):
                        file.rename(output / file.name)
                else:
                    draft.rename(output)
                _sync(home)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def settle(folder: Path) -> None:
    """Flush a folder and all it holds to disk, with modes that follow the umask; raises OSError.

    Some libraries write files that only their owner may read.
    """
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hidden(name: str) -> str:
    """Return the start of a hidden name beside `name`; of a long one a digest, so that it stays a valid name."""
    raw = os.fsencode(name)
    if len(raw) > MAX_HIDDEN:
        name = f"{name[:40]}-{hashlib.sha256(raw).hexdigest()[:16]}"
    return f".{name}"


def _is_draft(entry: Path, output: Path) -> bool:
    return entry.name.startswith(_hidden(output.name) + DRAFT)


def _remove_stale(output: Path, home: Path) -> None:
    for draft in home.iterdir():
        if _is_draft(draft, output):
            with FileLock(draft / "lock", f"{shown(output)} is being written by"):
                shutil.rmtree(draft, ignore_errors=True)


_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class FileLock:
    """Held by one process; the kernel frees it when that process ends, however it ends.

    (The package filelock cannot name the holder and, as of 4.2, locks a file that holds something else; older ones
    empty it.)
    """

    def __init__(self, file: Path, busy: str, *, wait: bool = False) -> None:
        """Take the lock; raises RunFailed that names the holder, with `busy` before it, unless it is to wait.

        Raises UserError, and changes nothing, if the file is a link, not a regular file or holds something else.
        """
        import fcntl  # not on Windows

        with disk_errors(file):
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                self._descriptor = os.open(file, flags, 0o666)
            except OSError as error:
                if error.errno == errno.ELOOP and file.is_symlink():
                    raise _no_lock(file, "a link") from None
                raise
            _held.add(self)
            try:
                if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    raise _no_lock(file, "not a regular file")
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except BlockingIOError:
                    raise RunFailed(f"{busy} {self._holder()}; wait for it, or stop it and try again") from None
                if (content := self._content()) and not content.startswith(HOLDER):
                    raise _no_lock(file, "a file that holds something else")
                with contextlib.suppress(OSError):  # on a full disk nobody learns who holds it
                    os.ftruncate(self._descriptor, 0)
                    os.pwrite(self._descriptor, HOLDER + f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
            except BaseException:
                self.close()
                raise

    def _content(self) -> bytes:
        return os.pread(self._descriptor, 200, 0)

    def _holder(self) -> str:
        text = self._content().decode("ascii", "replace")
        return text if text.startswith(HOLDER.decode()) and text.isprintable() else "another process"

    def close(self) -> None:
        """Free the lock; the file stays, because removing it would race with the next holder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Free the lock."""
        self.close()


def _no_lock(file: Path, what: str) -> UserError:
    return UserError(f"{shown(file)} is {what}, not a lock; move it away and run the same command again")


def _let_go() -> None:
    """Close the locks that a fork has inherited: they are its parent's, and end with it."""
    for lock in _held:
        lock.close()


if hasattr(os, "register_at_fork"):
    # An engine's or a pool's forked process may outlive a killed writer, and would keep the folder locked.
    os.register_at_fork(after_in_child=_let_go)
