"""`tbench doctor`: what works on this machine, what does not, and what to do about it."""

import dataclasses
from typing import Annotated

import typer

from tbrm_bench.cli.talk import print_json, tables
from tbrm_bench.errors import ExitCode

COLORS = {"ok": "green", "missing": "yellow", "broken": "red"}


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check Python, packages, engines, GPUs, folders and the Hub; exit code 3 if something is broken."""
    from rich.table import Table
    from rich.text import Text

    from tbrm_bench.diagnosis import diagnose

    findings = diagnose()
    if json_:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row(Text(finding.level, style=COLORS[finding.level]), finding.subject, finding.detail)
        tables().print(table)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(ExitCode.MISSING)
