"""`tbench show RUN`: the scores of a stored run, without the model and without grading anything."""

from pathlib import Path
from typing import Annotated

import typer

from tbrm_bench.cli.talk import print_json, say, tables
from tbrm_bench.errors import UserError


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Show the scores of a run, finished or not; nothing is written.

    They are read from results.json, or computed from the stored verdicts if that is missing or out of date.
    """
    from tbrm_bench.report.terminal import render_result
    from tbrm_bench.run.result_json import result_data
    from tbrm_bench.run.results import shown_result

    if not run.is_dir():
        raise UserError(f"{run} is not a folder; give the run directory that `tbench eval` printed")
    result, note = shown_result(run)
    if note:
        say(f"note: {note}")
    if json:
        print_json(result_data(result))
    else:
        render_result(result, tables())
