"""`tbench grade RUN`: grade a stored run again, or by a second grader; `--jsonl`: grade the lines of standard input."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tbrm_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from tbrm_bench.pipeline import Change
    from tbrm_bench.second_opinion import TaskAgreement

MAX_SHOWN = 20
RUNS, LINES = "A stored run", "Lines of standard input"


def grade(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run directory.")] = None,
    second: Annotated[
        str | None,
        typer.Option(
            metavar="GRADER",
            help="Ask math-verify or exact too, and write where it disagrees to RUN/disagreements.jsonl.",
            rich_help_panel=RUNS,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="TASK/ID#N", help="Say why one sample was judged so.", rich_help_panel=RUNS),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.", rich_help_panel=RUNS)] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Grade {gold, prediction} objects, one a line.", rich_help_panel=LINES),
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Add to each verdict how both sides were read.", rich_help_panel=LINES)
    ] = False,
    strict_boxed: Annotated[
        bool, typer.Option("--strict-boxed", help="Only a box holds an answer.", rich_help_panel=LINES)
    ] = False,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Processor seconds one verdict may take.", rich_help_panel=LINES)
    ] = 5.0,
    workers: Annotated[int, typer.Option(min=1, help="Grader processes.")] = 1,
) -> None:
    """Grade every stored sample with this version's grader and rewrite results.json; or grade lines of JSON."""
    if jsonl == (run is not None):
        raise UserError("give a run directory, or --jsonl to grade the lines of standard input: one of the two")
    if jsonl:
        _grade_lines(workers=workers, time_limit_s=time_limit, strict_boxed=strict_boxed, why=why)
        return
    assert run is not None
    if explain:
        _explain(run, explain)
    elif second:
        _ask_second(run, second, num_workers=workers, as_json=json_)
    else:
        _regrade(run, num_workers=workers, as_json=json_)


def _grade_lines(*, workers: int, time_limit_s: float, strict_boxed: bool, why: bool) -> None:
    from tbrm_bench.grade_lines import grade_lines

    replies = grade_lines(
        sys.stdin.buffer, num_workers=workers, time_limit_s=time_limit_s, strict_boxed=strict_boxed, why=why
    )
    num_mistakes = 0
    for reply in replies:
        print(reply.text, flush=True)
        num_mistakes += not reply.is_answer
    if num_mistakes:
        print(f"{num_mistakes} lines could not be read; their replies have status error", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED)


def _regrade(run: Path, *, num_workers: int, as_json: bool) -> None:
    from rich.console import Console

    from tbrm_bench.pipeline import regrade
    from tbrm_bench.report.terminal import render_result

    result, changes = regrade(run, num_workers=num_workers)
    if as_json:
        print(json.dumps({"grader": result.grader, "changes": [_row(change) for change in changes]}, indent=2))
        return
    render_result(result, Console())
    print(f"{len(changes)} verdicts changed", file=sys.stderr)
    for change in changes[:MAX_SHOWN]:
        task, problem_id, index = change.key
        print(
            f"  {task}/{problem_id}#{index}: {change.before.status} -> {change.after.status} "
            f"({change.after.extracted!r}, {change.after.rule})",
            file=sys.stderr,
        )
    if len(changes) > MAX_SHOWN:
        print(f"  and {len(changes) - MAX_SHOWN} more: tbench grade {run} --json", file=sys.stderr)


def _row(change: "Change") -> dict[str, Any]:
    return {
        "task": change.key.task,
        "problem_id": change.key.problem_id,
        "sample_index": change.key.sample_index,
        "before": change.before.status,
        "after": change.after.status,
        "extracted": change.after.extracted,
        "rule": change.after.rule,
    }


def _ask_second(run: Path, second: str, *, num_workers: int, as_json: bool) -> None:
    from tbrm_bench.second_opinion import ask_second

    file, tasks = ask_second(run, second, num_workers=num_workers)
    if as_json:
        print(json.dumps({"second": second, "file": str(file), "tasks": [task.as_json() for task in tasks]}, indent=2))
    else:
        _print_agreement(second, tasks)
    print(f"{file}: every disagreement, for a person to look at", file=sys.stderr)


def _print_agreement(second: str, tasks: "list[TaskAgreement]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, title=f"this grader against {second}")
    for header in ("task", "samples", "agree %", "only ours correct", f"only {second} correct", f"{second} failed"):
        table.add_column(header, justify="left" if header == "task" else "right")
    for task in tasks:
        share = f"{100 * task.agreement:.2f}"
        counts = (task.num_samples, share, task.only_ours, task.only_second, task.num_failed)
        table.add_row(task.task, *map(str, counts))
    Console().print(table)


def _explain(run: Path, where: str) -> None:
    from tbrm_bench.second_opinion import explain_stored, parse_key

    print(explain_stored(run, parse_key(where)))
