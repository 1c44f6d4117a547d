"""Boards and rows of tests, with counts drawn from a seed, and the site that is made of them."""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tbrm_bench.leaderboard.board import Board
from tbrm_bench.leaderboard.rows import BoardRow, read_row
from tbrm_bench.leaderboard.website import write_site

EVIL = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"
# Problems, samples, size of a cluster.
TASKS = {
    "aime24": (30, 8, 1), "math500": (60, 1, 1), "minerva_math": (40, 4, 3),
    "aime25": (30, 8, 1), "amc23": (40, 8, 1), "olympiadbench": (90, 1, 1),
}  # fmt: skip


def make_board(folder: Path, *, title: str = "Toy", metric: str = "avg@k", num_tasks: int = 3) -> Board:
    """Return a board of three tasks or more: many samples, one sample, problems in clusters."""
    return Board("toy", folder, title, "Notes of the board.", tuple(TASKS)[:num_tasks], (), "tbrm-", metric=metric)


def measured(
    board: Board, name: str, *, share: float = 0.5, seed: int = 0, tokens: float | None = 800.0, **more: Any
) -> BoardRow:
    """Return a measured row; the first third of the problems is never solved, which makes questions alike."""
    draw, tasks = random.Random(f"{name} {seed}"), {}
    for task in board.tasks:
        num_problems, k, size = TASKS[task]
        names = [str(number) for number in range(num_problems)]
        correct = {p: sum(draw.random() < share for _ in range(k)) if int(p) % 3 else 0 for p in names}
        tasks[task] = {"k": k, "correct": correct, "cluster": {p: f"c{int(p) // size}" for p in names}}
        if tokens is not None:
            tasks[task]["num_tokens"] = round(tokens * k * num_problems)
    about = {"model": name, "lock_hash": "3f" * 32, "lock": {"seed": seed}, "grader": "tbrm-1"}
    content = {"schema": 1, "name": name, "kind": "measured", "tasks": tasks}
    return read_row(board, content | about | more, f"measured-{zlib.crc32(name.encode()):08x}.json")


def reported(board: Board, name: str, score: float, *, file: str | None = None) -> BoardRow:
    """Return a row as from a paper, with one score on all tasks."""
    source = {"title": "A paper", "url": "https://example.org/paper"}
    tasks = {task: {"score": score} for task in board.tasks}
    content = {"schema": 1, "name": name, "kind": "reported", "source": source, "tasks": tasks}
    return read_row(board, content, file or f"{name}.json")


def mixed(board: Board, num_rows: int = 12) -> list[BoardRow]:
    """Return rows of both kinds, best first; a third is measured, one of these by a version that counted no tokens."""
    rows = [reported(board, f"paper {number:03}", (number + 1) / (num_rows + 2)) for number in range(num_rows)]
    for number in range(0, num_rows, 3):
        name, share = f"lab/model {number:03}", (number + 1) / num_rows
        rows[number] = measured(board, name, share=share, tokens=300.0 * 50 ** (number / num_rows) if number else None)
    return sorted(rows, key=lambda row: -row.score)


def site_of(board: Board, rows: Sequence[BoardRow], folder: Path) -> Path:
    """Write the site of one board and return its index."""
    write_site([(board, rows)], folder)
    return folder / "index.html"
