"""`tbench doctor`: what works on this machine, what does not, and what to do about it."""

import dataclasses
import json
from typing import Annotated

import typer

from tbrm_bench.errors import ExitCode

MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at Python, packages, engines, GPUs, folders and the Hub; exit code 3 if something is broken."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tbrm_bench.diagnosis import diagnose

    findings = diagnose()
    if json_:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row(MARKS[finding.level], finding.subject, escape(finding.detail))
        Console().print(table)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(ExitCode.MISSING)
