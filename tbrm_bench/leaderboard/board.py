"""A board: tasks, metric, order, which fields of two locks must agree, how many samples at least. One TOML file each.

title = "Six benchmarks of mathematical reasoning"
tasks = ["aime24", "math500"]
metric = "avg@k"
order = "mean"
agree = ["tasks.*.rows", "tasks.*.max_tokens"]
[min_samples]
aime24 = 32
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbrm_bench.config import Count, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.files import FileLock
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.resources import data_dir
from tbrm_bench.tasks.spec import load_task

AVG, MEAN = "avg@k", "mean"
ABSENT = object()
LOCK = ".lock"
OWN = Path("boards")  # where boards of one's own lie unless another folder is given


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
    min_samples: Mapping[str, Count] = field(default_factory=dict)
    metric: str = AVG  # what a problem scores: the share of correct samples, or pass@N
    order: str = MEAN  # what rows are ranked by: the mean over the tasks, or one task

    @property
    def rows_dir(self) -> Path:
        """Where the rows lie, one JSON file each."""
        return self.folder / "rows" / self.name

    @property
    def pass_k(self) -> int | None:
        """The N of the metric pass@N, None for avg@k."""
        return None if self.metric == AVG else int(self.metric.removeprefix("pass@"))


def board_folder(folder: Path | None) -> Path:
    """Return the folder of boards: the one that is given, else ./boards where it holds one, else the shipped one."""
    return next((place for place in _places(folder) if any(place.glob("*.toml"))), folder or OWN)


def shipped_too(board: Board) -> Path | None:
    """Return the folder of the shipped board that one of ./boards hides, or None."""
    shipped = data_dir("leaderboards")
    return shipped if board.folder == OWN and (shipped / f"{board.name}.toml").is_file() else None


@contextmanager
def locked_boards(folder: Path) -> Iterator[None]:
    """Make a second writer of a folder of boards wait, so that each sees the other's rows."""
    if not folder.is_dir():  # no rows exist yet
        yield
        return
    with FileLock(folder / LOCK, f"{folder} is being written by", wait=True):
        yield


def _places(folder: Path | None) -> tuple[Path, ...]:
    return (folder,) if folder is not None else (OWN, data_dir("leaderboards"))


def load_board(name: str, folder: Path | None = None) -> Board:
    """Return a board, one of ./boards before a shipped one; raises UserError for an unknown name or a faulty file."""
    places = _places(folder)
    known = {path.stem: place for place in reversed(places) for path in sorted(place.glob("*.toml"))}
    if name not in known:
        raise UserError(f"no board {name!r} in {' or '.join(map(str, places))}; {did_you_mean(name, known)}")
    place = known[name]
    board = load_toml(place / f"{name}.toml", Board, name=name, folder=place)
    for task in (*board.tasks, *board.min_samples):
        load_task(task)
    _check_metric(board)
    if board.order not in (MEAN, *board.tasks):
        near = did_you_mean(board.order, (MEAN, *board.tasks))
        raise UserError(f"{place / name}.toml: order is {board.order!r}, not {MEAN} or a task of the board; {near}")
    return board


def _check_metric(board: Board) -> None:
    file = f"{board.folder / board.name}.toml"
    if board.metric != AVG and not re.fullmatch(r"pass@[1-9]\d{0,5}", board.metric):
        near = did_you_mean(board.metric, (AVG, "pass@1", "pass@8", "pass@32"))
        raise UserError(f"{file}: metric is {board.metric!r}, not {AVG} or pass@N; {near}")
    for task in board.tasks:
        if board.pass_k is not None and board.min_samples.get(task, 1) < board.pass_k:
            raise UserError(
                f"{file}: {board.metric} needs {board.pass_k} samples per problem, min_samples of {task} is "
                f"{board.min_samples.get(task, 1)}; raise it"
            )


def agreed_fields(board: Board, lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a lock that must agree on this board, by dotted name; `*` stands for each of its tasks.

    A field that the lock does not have is ABSENT.
    """
    found: dict[str, Any] = {}
    for pattern in board.agree:
        for name in _expanded(pattern, board.tasks):
            value: Any = lock
            for part in name.split("."):
                value = value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
            found[name] = value
    return found


def _expanded(pattern: str, tasks: tuple[str, ...]) -> Iterator[str]:
    if "*" in pattern:
        yield from (pattern.replace("*", task) for task in tasks)
    else:
        yield pattern
