"""The static site of boards: tables, costs, comparisons, a page per row; it works from disk and needs no network.

    index.html  style.css  board.js and others       what the reader's browser runs
    data.js                                          all boards with their rows, without counts
    rows/<board>/<row>.html                          a row: scores, lock, source
    rows/<board>/<row>.js                            its counts by problem, loaded when it is compared
    README.md                                        what makes a static Space of the folder

Foreign texts are escaped here, or set as text (never as HTML) by the scripts; each page forbids inline scripts.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from tbrm_bench.errors import UserError
from tbrm_bench.files import write_files
from tbrm_bench.foreign import for_terminal
from tbrm_bench.leaderboard.board import MEAN, Board
from tbrm_bench.leaderboard.page import rank_text
from tbrm_bench.leaderboard.ranks import FloatArray, pair_p_values, rank_ranges
from tbrm_bench.leaderboard.row_page import row_page
from tbrm_bench.leaderboard.rows import BoardRow, TaskRow, scores_by_count
from tbrm_bench.metrics.passk import pass_at_k_curve

ASSETS = ("index.html", "style.css", "dom.js", "table.js", "plots.js", "compare.js", "board.js")
SPACE = "---\ntitle: Leaderboards\nsdk: static\n---\n\nMade by `tbench board render --site`; open index.html.\n"
# With more rows, a p-value for each pair would make the page heavy; the page then says that there is none.
MAX_PAIRED_ROWS = 60


def write_site(boards: Sequence[tuple[Board, Sequence[BoardRow]]], folder: Path) -> list[Path]:
    """Write the site and return its files; raises UserError if the folder is a file or holds something else's index."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give --site a folder")
    contents = {name: asset(name) for name in ASSETS}
    contents["README.md"] = SPACE
    data = []
    for board, rows in boards:
        p_values = pair_p_values(rows)
        ranks = rank_ranges(rows, order=board.order, p_values=p_values if board.order == MEAN else None)
        data.append(board_data(board, rows, ranks, p_values))
        for row, rank in zip(rows, ranks, strict=True):
            contents[row_path(board, row)] = row_page(board, row, rank)
            if has_counts(row):
                text = script_json([counts_path(board, row), counts_data(board, row)])
                contents[counts_path(board, row)] = f"window.putCounts(...{text});\n"
    contents["data.js"] = f"window.BOARDS = {script_json(data)};\n"
    write_files({folder / name: content for name, content in contents.items()}, make_folders=True)
    return [folder / name for name in contents]


def asset(name: str) -> str:
    """Return a file of the package's folder `site`."""
    return (files("tbrm_bench.leaderboard") / "site" / name).read_text(encoding="utf-8")


def script_json(value: Any) -> str:
    """Return JSON that is safe inside a script: no tag, no line separator, no NaN."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def row_path(board: Board, row: BoardRow) -> str:
    """Return where a row's page lies in the site."""
    return f"rows/{board.name}/{Path(row.file).stem}.html"


def board_data(
    board: Board, rows: Sequence[BoardRow], ranks: Sequence[tuple[int, int]], p_values: FloatArray
) -> dict[str, Any]:
    """Return what the page needs of a board; scores in [0, 1], `p` by pairs of row numbers (i < j)."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))] if len(rows) <= MAX_PAIRED_ROWS else []
    return {
        "name": board.name,
        "title": for_terminal(board.title),
        "notes": for_terminal(" ".join(board.notes.split())),
        "metric": board.metric,
        "order": board.order,
        "tasks": list(board.tasks),
        "questions": {
            questions_key(task): questions_data(task) for row in rows if has_counts(row) for task in row.tasks.values()
        },
        "rows": [
            _row_data(board, row, rank, number) for number, (row, rank) in enumerate(zip(rows, ranks, strict=True))
        ],
        "p": {f"{i}-{j}": _finite(p_values[i, j]) for i, j in pairs},
    }


def _row_data(board: Board, row: BoardRow, rank: tuple[int, int], number: int) -> dict[str, Any]:
    return {
        "number": number,
        "name": for_terminal(row.name),
        "kind": row.kind,
        "rank": list(rank),
        "rank_text": rank_text(rank),
        "page": row_path(board, row),
        "mean": [_finite(row.score), _finite(row.se)],
        "tasks": [[_finite(row.tasks[task].score), _finite(row.tasks[task].se)] for task in board.tasks],
        "cost": None if row.cost is None else round(row.cost, 1),
        "counts": counts_path(board, row) if has_counts(row) else None,
    }


def has_counts(row: BoardRow) -> bool:
    """Whether the row knows how many samples of each problem were correct."""
    return all(task.correct for task in row.tasks.values())


def counts_path(board: Board, row: BoardRow) -> str:
    """Return where a row's counts lie in the site."""
    return row_path(board, row).removesuffix(".html") + ".js"


def counts_data(board: Board, row: BoardRow) -> dict[str, Any]:
    """Return what a comparison with the row needs: counts in the order of the questions, and what each count scores."""
    num_clusters = sum(len(set(task.cluster.values())) - 1 for task in row.tasks.values()) + 1
    return {
        "t_mean": _t(num_clusters),
        "curves": {task: curve for task in board.tasks if (curve := pass_curve(row, task))},
        "tasks": {
            name: {
                "questions": questions_key(task),
                "scores": scores_by_count(task.k, board.pass_k),
                "correct": list(task.correct.values()),
            }
            for name, task in row.tasks.items()
        },
    }


def questions_key(task: TaskRow) -> str:
    """Return a short hash of the problems and their clusters: differences are paired where it is the same."""
    return hashlib.sha256(json.dumps(dict(task.cluster)).encode()).hexdigest()[:12]


def questions_data(task: TaskRow) -> dict[str, Any]:
    """Return the clusters of the problems in order, null if each is alone, and the t of their interval."""
    codes: dict[str, int] = {}
    clusters = [codes.setdefault(name, len(codes)) for name in task.cluster.values()]
    return {
        "clusters": clusters if len(codes) < len(clusters) else None,
        "num_clusters": len(codes),
        "t": _t(len(codes)),
    }


def _t(num_clusters: int) -> float | None:
    return float(stdtrit(num_clusters - 1, 0.975)) if num_clusters > 1 else None


def pass_curve(row: BoardRow, task: str) -> list[float]:
    """Return the mean of pass@1 .. pass@k over the problems, unbiased; empty without counts or with one sample."""
    scores = row.tasks[task]
    if not scores.correct or scores.k < 2:
        return []
    curve = pass_at_k_curve([scores.k] * len(scores.correct), list(scores.correct.values()), max_k=scores.k)
    return [round(float(value), 6) for value in curve.mean(axis=0)]


def _finite(value: float) -> float | None:
    return round(float(value), 8) if np.isfinite(value) else None
