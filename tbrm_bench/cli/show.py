"""`tbench show RUN`: the scores of a stored run, without the model and without grading anything."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tbrm_bench.errors import UserError

if TYPE_CHECKING:
    from tbrm_bench.records import RunResult

RESULTS = "results.json"
# The write-ahead log holds what was committed last.
STORE_FILES = ("samples.sqlite", "samples.sqlite-wal")


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Show the scores of a run, finished or not; nothing is written.

    They are read from results.json, or computed from the stored grades when that is absent or older than the samples.
    """
    from rich.console import Console

    from tbrm_bench.report.terminal import render_result
    from tbrm_bench.result_json import result_to_json

    result = _stored_result(run) if _is_current(run) else _computed_result(run)
    if json:
        sys.stdout.write(result_to_json(result))
    else:
        render_result(result, Console())


def _is_current(run: Path) -> bool:
    """Whether results.json is there and not older than the store; UserError if RUN is no run directory."""
    if not run.is_dir():
        raise UserError(f"{run} is not a folder; give the run directory that `tbench eval` printed")
    written = [_written_ns(run / name) for name in STORE_FILES]
    scored = _written_ns(run / RESULTS, even_empty=True)
    if scored is None and written[0] is None:
        raise UserError(f"{run} holds neither {RESULTS} nor {STORE_FILES[0]}; give a run directory of `tbench eval`")
    return scored is not None and all(time is None or time <= scored for time in written)


def _written_ns(file: Path, *, even_empty: bool = False) -> int | None:
    """When a file was written; None if it is not there, or empty, as the log is that a reader leaves behind."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns if status.st_size or even_empty else None


def _stored_result(run: Path) -> "RunResult":
    from tbrm_bench.result_json import result_from_json

    try:
        return result_from_json((run / RESULTS).read_text(encoding="utf-8"))
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{run / RESULTS}: {error}") from error


def _computed_result(run: Path) -> "RunResult":
    from tbrm_bench.grading import GraderPool
    from tbrm_bench.pipeline import grader_name
    from tbrm_bench.score import score_run
    from tbrm_bench.store import RunStore

    with RunStore.open_reader(run) as store, GraderPool() as pool:
        used = store.graders()
        grader = used[-1] if used else grader_name(strict_boxed=bool(store.about["strict_boxed"]))
        return score_run(store, grader=grader, vote_classes=pool.vote_classes)
