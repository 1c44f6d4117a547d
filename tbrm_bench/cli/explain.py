"""`tbench explain RUN SAMPLE`: why one stored sample was judged as it was."""

from pathlib import Path
from typing import Annotated

import typer

from tbrm_bench.cli.talk import print_data, print_json


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="TASK/PROBLEM_ID/SAMPLE_INDEX.")],
    json_: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show why one stored sample was judged as it was."""
    from tbrm_bench.run.second_opinion import explain_stored, parse_key

    found = explain_stored(run, parse_key(sample))
    if json_:
        print_json(found)
        return
    print_data(*found["steps"])
    for name, stored in found["stored"].items():
        print_data(f"stored    {stored['status']} by {name}, rule '{stored['rule']}'")
    print_data(f"ended by  {found['finish_reason']}")
    print_data(f"tail      {found['tail']!r}")
