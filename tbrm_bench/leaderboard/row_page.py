"""The page of one row: its scores by task, links to its samples, and all that is known of how they were made.

Every text comes from outside and is escaped; the page holds no script and forbids them.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tbrm_bench.foreign import for_html, for_terminal
from tbrm_bench.leaderboard.board import Board
from tbrm_bench.leaderboard.page import estimate, rank_text, samples_url
from tbrm_bench.leaderboard.rows import BoardRow, TaskRow


def row_page(board: Board, row: BoardRow, rank: tuple[int, int]) -> str:
    """Return the page of one row."""
    tasks = "".join(_task(row, task) for task in row.tasks)
    facts = "".join(
        f"<dt>{for_html(key.replace('_', ' '))}</dt><dd>{_place(row) if key == 'samples' else _fact(value)}</dd>"
        for key, value in row.about.items()
    )
    return ROW_PAGE.format(
        name=for_html(row.name), board=for_html(board.title), kind=row.kind, rank=rank_text(rank),
        mean=estimate(row.score, row.se), tasks=tasks, facts=facts, metric=for_html(board.metric),
        ci=_interval(row.ci), view=for_html(urlencode({"board": board.name, "b": for_terminal(row.name)})),
    )  # fmt: skip


def _task(row: BoardRow, task: str) -> str:
    scores = row.tasks[task]
    score, ci = estimate(scores.score, scores.se), _interval(scores.ci)
    cells = (score, ci, str(scores.num_problems), _samples(row, task), _tokens(scores))
    return f'<tr><th scope="row">{for_html(task)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _samples(row: BoardRow, task: str) -> str:
    k, url = str(row.tasks[task].k or "-"), samples_url(row, task)
    return _link(url, f"{k}, see them", says=task) if url else k


def _place(row: BoardRow) -> str:
    place, url = row.about["samples"], samples_url(row)
    return _link(url, f"{place['repo']}, run {place['run']}, commit {place['commit']}") if url else _fact(place)


def _link(url: str, text: str, *, says: str = "") -> str:
    label = f' aria-label="{for_html(f"{text}: {says}")}"' if says else ""
    return f'<a href="{for_html(url)}" rel="noopener noreferrer"{label}>{for_html(text)}</a>'


def _interval(ci: tuple[float, float]) -> str:
    return f"{100 * ci[0]:.1f} to {100 * ci[1]:.1f}"


def _tokens(scores: TaskRow) -> str:
    if scores.num_tokens is None:
        return "-"
    return f"{scores.num_tokens / (scores.k * scores.num_problems):,.0f}"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        text = for_html(json.dumps(value, indent=1, ensure_ascii=False), keep="\n")
        url = str(value.get("url", ""))
        return _link(url, str(value.get("title", url))) if url.startswith("https://") else f"<pre>{text}</pre>"
    return for_html(value)


ROW_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self' file:">
<title>{name}</title>
<link rel="stylesheet" href="../../style.css">
</head>
<body>
<main>
<p><a href="../../index.html#{view}">All rows, compared with this one</a></p>
<h1>{name}</h1>
<p class="facts"><span class="kind {kind}">{kind}</span> {board}: rank <b>{rank}</b>, mean <b>{mean}</b> % ({metric}),
95 % CI {ci}.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Scores by task"><table class="scores">
<thead><tr><th scope="col">task</th><th scope="col">score ± s.e., %</th><th scope="col">95 % CI</th>
<th scope="col">problems</th><th scope="col">samples per problem</th><th scope="col">tokens per answer</th></tr></thead>
<tbody>{tasks}</tbody>
</table></div>
<dl>{facts}</dl>
</main>
</body>
</html>
"""
