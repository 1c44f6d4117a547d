"""`tbench grade RUN`: grade a stored run again, without the model, and say which verdicts changed."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

MAX_SHOWN = 20


def grade(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    workers: Annotated[int, typer.Option(min=1, help="Grader processes.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print the changed verdicts as JSON.")] = False,
) -> None:
    """Grade every stored sample with this version's grader and rewrite results.json."""
    from rich.console import Console

    from tbrm_bench.pipeline import regrade
    from tbrm_bench.report.terminal import render_result

    result, changes = regrade(run, num_workers=workers)
    rows = [
        {
            "task": change.key.task,
            "problem_id": change.key.problem_id,
            "sample_index": change.key.sample_index,
            "before": change.before.status,
            "after": change.after.status,
            "extracted": change.after.extracted,
            "rule": change.after.rule,
        }
        for change in changes
    ]
    if json_:
        print(json.dumps({"grader": result.grader, "changes": rows}, indent=2))
        return
    render_result(result, Console())
    print(f"{len(rows)} verdicts changed", file=sys.stderr)
    for row in rows[:MAX_SHOWN]:
        where = f"{row['task']}/{row['problem_id']}#{row['sample_index']}"
        print(f"  {where}: {row['before']} -> {row['after']} ({row['extracted']!r}, {row['rule']})", file=sys.stderr)
    if len(rows) > MAX_SHOWN:
        print(f"  and {len(rows) - MAX_SHOWN} more: tbench grade {run} --json", file=sys.stderr)
