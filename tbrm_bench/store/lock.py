"""run.json: what decides a score, written first and never changed; and the flock that keeps writers apart."""

import fcntl
import json
import os
import socket
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tbrm_bench.config import Place, from_table
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.provenance import digest
from tbrm_bench.store.files import write_text_atomically
from tbrm_bench.strict_json import parse_json

SCHEMA = 1
RUN_JSON = "run.json"
FIX = "restore it from a copy, or use the version that wrote it"
WRITER_LOCK = "writer.lock"
# Locks name their version from 2 on. Version 1 took the tokenizer and the model's own code on trust.
LOCK_VERSION = 2
NEW_IN_VERSION_2 = ("tokenizer", "code")


@dataclass(frozen=True, slots=True)
class RunFile:
    """The content of run.json; `about` describes the first command and decides nothing."""

    lock: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def lock_hash(self) -> str:
        """The digest of the lock, 64 hex digits."""
        return digest(self.lock)


def write_run_file(run_dir: Path, run: RunFile) -> None:
    """Write run.json, whole or not at all."""
    content = {"schema": SCHEMA, "lock_hash": run.lock_hash, "lock": run.lock, "about": run.about}
    write_text_atomically(run_dir / RUN_JSON, json.dumps(content, indent=2) + "\n")


def read_run_file(run_dir: Path) -> RunFile:
    """Read and check run.json; raises UserError if the folder is no run, damaged, or of another schema."""
    file = run_dir / RUN_JSON
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{run_dir} is not a run directory: it holds no {RUN_JSON}; give the folder that tbench eval printed"
        ) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error}); {FIX}") from error
    content = parse_json(text, place=str(file), fix=FIX, schema=SCHEMA)
    stored_hash = content.pop("lock_hash", None)
    run = from_table(content, RunFile, place=Place(str(file), fix=FIX))
    stored, own = str(stored_hash), run.lock_hash
    if stored != own:
        raise UserError(
            f"{file} was changed by hand: lock_hash is {stored[:12]!r}, its lock hashes to {own[:12]!r}; "
            "restore it from a copy"
        )
    return run


def diff_locks(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (dotted field, value in the first, value in the second) of every field that differs; absent is None."""
    found: list[tuple[str, Any, Any]] = []
    for key in [*first, *(key for key in second if key not in first)]:
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [(f"{key}.{field}", a, b) for field, a, b in diff_locks(one, other)]
        elif one != other:
            found.append((key, one, other))
    return found


def as_version_1(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a lock without what version 2 has added."""
    kept = {key: value for key, value in lock.items() if key != "version"}
    if isinstance(model := kept.get("model"), Mapping):
        kept["model"] = {key: value for key, value in model.items() if key not in NEW_IN_VERSION_2}
    return kept


def in_one_version(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return two locks as they are, or both in version 1 if one of them is."""
    if "version" in one and "version" in other:
        return one, other
    return as_version_1(one), as_version_1(other)


def started_under(run_dir: Path) -> RunFile | None:
    """Return what a run was started under; None if there is no run that can be read."""
    try:
        return read_run_file(run_dir)
    except UserError:
        return None


def refuse_another_lock(run_dir: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise UserError that names the fields in which two locks differ; a run of version 1 is held to its own fields."""
    # What `asked` says is compared as it would be read back: tuples are lists in JSON.
    asked = json.loads(json.dumps(asked))
    differences = diff_locks(stored, asked if "version" in stored else as_version_1(asked))
    if differences:
        fields = "; ".join(f"{field} is {_short(old)}, asked for {_short(new)}" for field, old, new in differences[:3])
        more = f" (and {len(differences) - 3} more fields)" if len(differences) > 3 else ""
        raise UserError(f"{run_dir} holds a run under another lock: {fields}{more}; choose another folder with --out")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


_held: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class WriterLock:
    """Held by the one process that writes to a run; the kernel frees it when that process ends, however it ends."""

    def __init__(self, run_dir: Path) -> None:
        """Take the lock; raises RunFailed that names the holder."""
        self.file = run_dir / WRITER_LOCK
        self.stream = self.file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.stream.seek(0)
            holder = self.stream.read().strip() or "another process"
            self.stream.close()
            raise RunFailed(f"{run_dir} is being written by {holder}; wait for it, or stop it and try again") from None
        self.stream.truncate(0)
        self.stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        self.stream.flush()
        _held.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the lock; the file stays, because removing it would race with the next holder."""
        self.stream.close()


def _let_go() -> None:
    """Close the locks that a fork has inherited: they are its parent's, and end with it."""
    for lock in _held:
        lock.stream.close()


# An engine's or a pool's forked process may outlive a killed writer, and would keep the run locked.
os.register_at_fork(after_in_child=_let_go)
