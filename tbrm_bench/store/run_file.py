"""run.json: what decides a score, written first and never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.config import Place, from_table
from tbrm_bench.disk import shown
from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text, write_text
from tbrm_bench.provenance import digest
from tbrm_bench.store.run_dir import RUN_JSON, is_run
from tbrm_bench.strict_json import parse_json

SCHEMA = 1
FIX = "restore it from a copy, or use the version that wrote it"
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
    write_text(run_dir / RUN_JSON, json.dumps(content, indent=2) + "\n")


def read_run_file(run_dir: Path) -> RunFile:
    """Read and check run.json; raises UserError if the folder is not a run, damaged, or of another schema."""
    file = run_dir / RUN_JSON
    if not is_run(run_dir):
        raise UserError(
            f"{shown(run_dir)} is not a run directory: it has no {RUN_JSON}; give the folder that tbench eval printed"
        )
    content = parse_json(read_text(file), place=str(file), fix=FIX, schema=SCHEMA)
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
