"""A board: which tasks, which fields of two locks must agree, how many samples at least. One TOML file a board.

title = "Six benchmarks of mathematical reasoning"
tasks = ["aime24", "math500"]
agree = ["tasks.*.rows", "tasks.*.max_tokens"]
[min_samples]
aime24 = 32
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.resources import data_dir
from tbrm_bench.tasks import load_task
from tbrm_bench.tomlio import did_you_mean, load_toml


@dataclass(frozen=True, slots=True)
class Board:
    """A board as its file says it; `folder` holds the file, the rows and the page that is made of them."""

    name: str
    folder: Path
    title: str
    notes: str
    tasks: tuple[str, ...]
    agree: tuple[str, ...]
    grader: str  # every measured row's verdicts are by a grader whose name starts so
    min_samples: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_dir(self) -> Path:
        """Where the rows lie, one JSON file each."""
        return self.folder / "rows" / self.name


def board_folder(folder: Path | None) -> Path:
    """Return the folder of boards: the one that is given, else the shipped one."""
    return folder if folder is not None else data_dir("leaderboards")


def load_board(name: str, folder: Path | None = None) -> Board:
    """Return a board; raises UserError for an unknown name and for a file with a mistake in it."""
    place = board_folder(folder)
    known = sorted(path.stem for path in place.glob("*.toml"))
    if name not in known:
        raise UserError(f"no board {name!r} in {place}; {did_you_mean(name, known)}")
    board = load_toml(place / f"{name}.toml", Board, name=name, folder=place)
    for task in (*board.tasks, *board.min_samples):
        load_task(task)
    return board


def agreed_fields(board: Board, lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a lock that must agree on this board, by dotted name; `*` stands for each of its tasks."""
    found: dict[str, Any] = {}
    for pattern in board.agree:
        for name in _expanded(pattern, board.tasks):
            value: Any = lock
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            found[name] = value
    return found


def _expanded(pattern: str, tasks: tuple[str, ...]) -> Iterator[str]:
    if "*" in pattern:
        yield from (pattern.replace("*", task) for task in tasks)
    else:
        yield pattern
