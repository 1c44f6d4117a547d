"""Whose samples a database holds: `state` keeps the hash of the lock that they were drawn under.

A samples.sqlite that is copied into the folder of another run would else be scored, and grown, under that run's name.
Databases of version 0.1 do not have it; for those, the tasks and their numbers of problems must be those of the lock,
and the first writer notes the rest.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.store.run_dir import RUN_JSON
from tbrm_bench.store.run_file import RunFile
from tbrm_bench.store.schema import HAS_STATE

KEY = "lock"
CLAIM = "INSERT INTO state VALUES (?, ?) ON CONFLICT DO NOTHING"


def owned(connection: sqlite3.Connection, file: Path, run: RunFile, *, is_writer: bool = False) -> sqlite3.Connection:
    """Return the connection to the database `file`; a writer notes whose samples it holds, where it does not say.

    Raises UserError, and closes it, if they are not those of the run that run.json beside it tells of.
    """
    try:
        _check(connection, file, run)
        if is_writer:
            connection.execute(CLAIM, (KEY, run.lock_hash))
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, file: Path, run: RunFile) -> None:
    has_state = connection.execute(HAS_STATE).fetchone()[0]
    noted = connection.execute("SELECT value FROM state WHERE key = ?", (KEY,)).fetchone() if has_state else None
    if noted is None:
        _check_tasks(connection, file, run.lock.get("tasks"))
    elif noted[0] != run.lock_hash:
        raise _of_another(file, f"the lock {noted[0][:12]}", run.lock_hash[:12])


def _check_tasks(connection: sqlite3.Connection, file: Path, tasks: Any) -> None:
    if not isinstance(tasks, Mapping):
        return
    for task, count in connection.execute("SELECT task, count(*) FROM problems GROUP BY task"):
        if task not in tasks:
            raise _of_another(file, f"the task {task}", ", ".join(tasks))
        if tasks[task].get("num_problems", count) != count:
            raise _of_another(file, f"{count} problems of {task}", str(tasks[task]["num_problems"]))


def _of_another(file: Path, theirs: str, ours: str) -> UserError:
    return UserError(
        f"{file} holds the samples of another run: it has {theirs}, {RUN_JSON} beside it has {ours}; put back the file "
        "that belongs here, or move it aside to generate anew"
    )
