"""`tbench show RUN`: the scores of a stored run, without the model and without grading anything."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tbrm_bench.errors import UserError


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Show the scores of a run, finished or not; nothing is written.

    They are read from results.json, or computed from the stored verdicts when that is absent or not what they give.
    """
    from rich.console import Console

    from tbrm_bench.report.terminal import render_result
    from tbrm_bench.result_json import result_to_json
    from tbrm_bench.results import shown_result

    if not run.is_dir():
        raise UserError(f"{run} is not a folder; give the run directory that `tbench eval` printed")
    result, note = shown_result(run)
    if note:
        print(f"note: {note}", file=sys.stderr)
    if json:
        sys.stdout.write(result_to_json(result))
    else:
        render_result(result, Console())
