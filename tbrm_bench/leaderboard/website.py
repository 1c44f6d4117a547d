"""The static site of boards: tables, curves, comparisons, a page a row; it works from disk and needs no network.

    index.html  board.js  style.css  data.js         data.js holds one JSON text, `BOARDS`
    rows/<board>/<row>.html                          a row: scores, lock, source

Foreign texts are escaped here, or set as text (never as HTML) by board.js; each page forbids inline scripts.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.board import Board
from tbrm_bench.leaderboard.page import rank_text
from tbrm_bench.leaderboard.ranks import difference_p_value, rank_ranges
from tbrm_bench.leaderboard.row_page import row_page
from tbrm_bench.leaderboard.rows import Row
from tbrm_bench.metrics.passk import pass_at_k_curve
from tbrm_bench.store import write_text_atomically

ASSETS = ("index.html", "board.js", "style.css")
# With more rows, a p-value for each pair would make the page heavy; the page then says that there is none.
MAX_PAIRED_ROWS = 60


def write_site(boards: Sequence[tuple[Board, Sequence[Row]]], folder: Path) -> list[Path]:
    """Write the site and return its files; raises UserError if the folder is a file or holds something else's index."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give --site a folder")
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: asset(name) for name in ASSETS}
    contents["data.js"] = f"window.BOARDS = {script_json([board_data(board, rows) for board, rows in boards])};\n"
    for board, rows in boards:
        for row, ranks in zip(rows, rank_ranges(rows, order=board.order), strict=True):
            contents[row_path(board, row)] = row_page(board, row, ranks)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(folder / name, content)
    return [folder / name for name in contents]


def asset(name: str) -> str:
    """Return a file of the package's folder `site`."""
    return (files("tbrm_bench.leaderboard") / "site" / name).read_text(encoding="utf-8")


def script_json(value: Any) -> str:
    """Return JSON that is safe inside a script: no tag, no line separator, no NaN."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def row_path(board: Board, row: Row) -> str:
    """Return where a row's page lies in the site."""
    return f"rows/{board.name}/{Path(row.file).stem}.html"


def board_data(board: Board, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the page needs of a board; scores in [0, 1], `p` by pairs of row numbers (i < j)."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))] if len(rows) <= MAX_PAIRED_ROWS else []
    return {
        "name": board.name,
        "title": board.title,
        "notes": " ".join(board.notes.split()),
        "tasks": list(board.tasks),
        "rows": [
            _row_data(board, row, rank, number)
            for number, (row, rank) in enumerate(zip(rows, rank_ranges(rows, order=board.order), strict=True))
        ],
        "p": {f"{i}-{j}": _finite(difference_p_value(rows[i], rows[j])) for i, j in pairs},
    }


def _row_data(board: Board, row: Row, rank: tuple[int, int], number: int) -> dict[str, Any]:
    return {
        "number": number,
        "name": row.name,
        "kind": row.kind,
        "rank": list(rank),
        "rank_text": rank_text(rank),
        "page": row_path(board, row),
        "mean": [_finite(row.score), _finite(row.se)],
        "tasks": [[_finite(row.tasks[task].score), _finite(row.tasks[task].se)] for task in board.tasks],
        "curves": {task: curve for task in board.tasks if (curve := pass_curve(row, task))},
    }


def pass_curve(row: Row, task: str) -> list[float]:
    """Return the mean of pass@1 .. pass@k over the problems, unbiased; empty without counts or with one sample."""
    scores = row.tasks[task]
    if not scores.correct or scores.k < 2:
        return []
    curve = pass_at_k_curve([scores.k] * len(scores.correct), list(scores.correct.values()), max_k=scores.k)
    return [round(float(value), 6) for value in curve.mean(axis=0)]


def _finite(value: float) -> float | None:
    return round(float(value), 8) if np.isfinite(value) else None
