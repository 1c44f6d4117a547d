"""The rules of a board: what a measured row must be, alone and beside the others, wherever it comes from.

Example: `mine has 8 samples per problem of aime24, board tbrm6 asks for 32; grow it: --samples 32`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.board import ABSENT, Board, agreed_fields
from tbrm_bench.leaderboard.rows import BoardRow
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.tasks.spec import load_task


def check_row(board: Board, row: BoardRow, *, called: str | None = None) -> None:
    """Raise UserError that names the rule which a measured row breaks; `called` is what it calls the row."""
    called = called or row.name
    if row.kind != "measured":
        return
    if not str(row.about.get("grader")).startswith(board.grader):
        raise UserError(
            f"{called} has verdicts by {row.about.get('grader')}, board {board.name} asks for {board.grader}*; "
            "grade it with `tbench grade`"
        )
    lock = row.about.get("lock") or {}
    for field, value in agreed_fields(board, lock).items():
        if value is ABSENT:
            raise UserError(
                f"board {board.name} asks that rows agree in {field}, which the lock of {called} does not have; "
                f"{did_you_mean(field, names_in(lock))}"
            )
    for name, task in row.tasks.items():
        least, num_rows = board.min_samples.get(name, 1), load_task(name).num_rows
        if task.k < least:
            raise UserError(
                f"{called} has {task.k} samples per problem of {name}, board {board.name} asks for {least}; grow it: "
                f"--samples {least}"
            )
        if task.num_problems != num_rows:
            raise UserError(
                f"{called} has {task.num_problems} problems of {name}, the task has {num_rows}; run it without --limit"
            )


def names_in(lock: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of all fields of a lock."""
    names = []
    for key, value in lock.items():
        names += names_in(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return names


def check_agreement(board: Board, rows: Sequence[BoardRow]) -> None:
    """Raise UserError if two measured rows differ in the grader or in a field of the lock, and names the field."""
    measured = [row for row in rows if row.kind == "measured"]
    for row in measured[1:]:
        first, other = (
            {"grader": one.about.get("grader"), **agreed_fields(board, one.about.get("lock") or {})}
            for one in (measured[0], row)
        )
        for name, value in first.items():
            if other[name] != value:
                advice = "grade both runs by one version with `tbench grade` and add them again"
                raise UserError(
                    f"{row.name} is not comparable with {measured[0].name} on board {board.name}: {name} is "
                    f"{json.dumps(other[name])[:60]}, there {json.dumps(value)[:60]}; "
                    f"{advice if name == 'grader' else 'run it the same way'}, or remove one"
                )
