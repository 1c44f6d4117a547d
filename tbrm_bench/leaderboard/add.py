"""From a run to a row: a run directory, or a run that `tbench push` put on the Hub, checked against a board's rules.

Example: `add_run(board, "owner/results@main", pushed_run="step-200")` pulls the run into a temporary folder. Its row
says from which commit of which repository, so that whoever reads the board can look at every sample behind the score.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tbrm_bench.disk import disk_errors, expanded
from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text, write_files
from tbrm_bench.hub import Backoff
from tbrm_bench.leaderboard.board import Board, locked_boards
from tbrm_bench.leaderboard.rows import SCHEMA, read_row, read_rows, scores_json, slug
from tbrm_bench.leaderboard.rules import check_agreement, check_row
from tbrm_bench.publish import pull_run
from tbrm_bench.records import Status
from tbrm_bench.store import RunStore


def add_run(
    board: Board,
    run: str,
    *,
    name: str | None = None,
    pushed_run: str | None = None,
    to: Path | None = None,
    backoff: Backoff | None = None,
) -> Path:
    """Add a run, a folder or `owner/name[@revision]` on the Hub, and return the row's file.

    It lies in the folder `to` (default: the board's), to which the board's definition is copied if it has none.
    `pushed_run` chooses one of several runs of a repository. Raises UserError for the rule that the run breaks, and
    whatever `pull_run` raises; then nothing was written.
    """
    if not is_on_hub(run):
        if pushed_run is not None:
            raise UserError(f"{run} is a folder with one run; --run {pushed_run} chooses among those of a repository")
        return add_row(board, row_of_run(board, expanded(run), name), to=to)
    repo, _, revision = run.partition("@")
    with tempfile.TemporaryDirectory(prefix="tbench-board-") as folder:
        place = Path(folder) / "run"
        done = pull_run(repo, place, name=pushed_run, revision=revision or None, backoff=backoff)
        row = row_of_run(board, place, name, called=f"{done.name} in {repo}")
    return add_row(board, row | {"samples": {"repo": repo, "commit": done.commit, "run": done.name}}, to=to)


def is_on_hub(run: str) -> bool:
    """Whether this is a repository's name and no folder's; raises UserError if it is neither."""
    if expanded(run).exists():
        return False
    if not re.fullmatch(r"[^/@\s.~][^/@\s]*/[^/@\s]+(@\S+)?", run):
        raise UserError(f"{run!r} is neither a run directory nor a dataset on the Hub (owner/name[@revision])")
    return True


def row_of_run(board: Board, run_dir: Path, name: str | None = None, *, called: str | None = None) -> dict[str, Any]:
    """Return the JSON of a measured row, named after the run's model unless `name` is given.

    Raises UserError that names the rule of the board which the run breaks; `called` is the run's name in errors.
    """
    called = called or str(run_dir)
    with RunStore.open_reader(run_dir) as store:
        grader, about = store.last_grader(), store.about
        if grader is None or not grader.startswith(board.grader):
            raise UserError(
                f"{called} was last graded by {grader or 'nobody'}, board {board.name} asks for "
                f"{board.grader}*; grade it with `tbench grade`"
            )
        for task in board.tasks:
            if task not in store.tasks():
                raise UserError(f"{called} has no {task}, board {board.name} ranks {', '.join(board.tasks)}")
        content = {
            "schema": SCHEMA,
            "name": name or str(about.get("model")),
            "kind": "measured",
            "model": about.get("model"),
            "commit": about.get("commit"),
            "protocol": about.get("protocol"),
            "date": about.get("created"),
            "grader": grader,
            "lock_hash": store.lock_hash,
            "lock": store.lock,
            "tasks": {task: _task_json(store, task, grader, called) for task in board.tasks},
        }
    row = read_row(board, content, called)
    check_row(board, row, called=called)
    return content | {"scores": scores_json(board, row)}


def _task_json(store: RunStore, task: str, grader: str, called: str) -> dict[str, Any]:
    correct = {problem.key.problem_id: 0 for problem in store.problems(task)}
    num_graded = num_tokens = 0
    for sample in store.graded(task, grader):
        num_graded += sample.status is not None
        num_tokens += sample.num_tokens
        correct[sample.key.problem_id] += sample.status is Status.CORRECT
    k = store.num_samples(task)
    if num_graded < k * len(correct):
        raise UserError(
            f"{called}: {num_graded} of {k * len(correct)} samples of {task} have a verdict; finish the run"
        )
    return {
        "k": k,
        "correct": correct,
        "cluster": {problem.key.problem_id: problem.cluster for problem in store.problems(task)},
        "num_tokens": num_tokens,
    }


def add_row(board: Board, content: Mapping[str, Any], *, to: Path | None = None) -> Path:
    """Write a measured row; raises UserError if it does not agree with the rows that are there, by the field."""
    definition = board.folder / f"{board.name}.toml"
    board = replace(board, folder=to or board.folder)
    with disk_errors(board.folder):
        board.folder.mkdir(parents=True, exist_ok=True)
    with locked_boards(board.folder):
        file = board.rows_dir / f"{slug(str(content['name']))}.json"
        rows = read_rows(board)
        for other in rows:
            if other.name == content["name"] or other.file == file.name:
                raise UserError(
                    f"board {board.name} has a row {other.name!r} already ({board.rows_dir / other.file}); "
                    "remove it or choose --name"
                )
        row = read_row(board, content, str(file))
        check_row(board, row)
        check_agreement(board, [*rows, row])
        own = board.folder / definition.name
        files = {} if own.exists() else {own: read_text(definition)}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_files(files | {file: text}, make_folders=True)
    return file
