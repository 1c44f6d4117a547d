"""`tbench grade RUN`: grade a stored run again, or by a second grader; `--jsonl`: grade the lines of standard input."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tbrm_bench.cli.talk import print_data, print_json, say, tables, word
from tbrm_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from tbrm_bench.run.pipeline import Change
    from tbrm_bench.run.second_opinion import TaskAgreement

MAX_SHOWN = 20
RUNS, LINES = "A stored run", "Lines of standard input"


def grade(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.")] = None,
    second: Annotated[
        str | None,
        typer.Option(
            metavar="GRADER",
            help="Ask math-verify or exact too, and write where it disagrees to RUN/disagreements.jsonl.",
            rich_help_panel=RUNS,
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=RUNS)] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Grade {gold, prediction} objects, one per line.", rich_help_panel=LINES),
    ] = False,
    strict_boxed: Annotated[
        bool, typer.Option("--strict-boxed", help="Only a box holds an answer.", rich_help_panel=LINES)
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the reasons to each reply.", rich_help_panel=LINES)
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
        _grade_lines(workers=workers, time_limit_s=time_limit, strict_boxed=strict_boxed, explain=explain)
        return
    assert run is not None
    if explain:
        raise UserError(
            f"--explain is for --jsonl; for a stored sample: tbench explain {word(run)} TASK/PROBLEM_ID/SAMPLE_INDEX"
        )
    if second:
        _ask_second(run, second, num_workers=workers, as_json=json_)
    else:
        _regrade(run, num_workers=workers, as_json=json_)


def _grade_lines(*, workers: int, time_limit_s: float, strict_boxed: bool, explain: bool) -> None:
    from tbrm_bench.run.grade_lines import grade_lines

    if sys.stdin is None:
        raise UserError("the standard input is closed; give it lines: tbench grade --jsonl < lines.jsonl")
    num_mistakes = 0
    with open(sys.stdin.fileno(), "rb", closefd=False) as stream:
        for replies in grade_lines(
            stream, num_workers=workers, time_limit_s=time_limit_s, strict_boxed=strict_boxed, explain=explain
        ):
            print_data(*(reply.text for reply in replies))
            num_mistakes += sum(not reply.is_answer for reply in replies)
    if num_mistakes:
        lines = "1 line" if num_mistakes == 1 else f"{num_mistakes} lines"
        say(f"{lines} could not be read; the replies have status error and say why")
        raise typer.Exit(ExitCode.FAILED)


def _regrade(run: Path, *, num_workers: int, as_json: bool) -> None:

    from tbrm_bench.report.terminal import render_result
    from tbrm_bench.run.pipeline import regrade

    result, changes = regrade(run, num_workers=num_workers)
    transitions = Counter((change.before.status, change.after.status) for change in changes)
    if as_json:
        print_json(
            {
                "grader": result.grader,
                "num_changed": len(changes),
                "transitions": [
                    {"before": before, "after": after, "count": count}
                    for (before, after), count in transitions.most_common()
                ],
                "changes": [_row(change) for change in changes],
            }
        )
        return
    render_result(result, tables())
    say(f"{len(changes)} verdicts changed")
    for (before, after), count in transitions.most_common():
        say(f"  {before} -> {after}: {count}")
        examples = [change for change in changes if (change.before.status, change.after.status) == (before, after)]
        for change in examples[: max(1, MAX_SHOWN // len(transitions))]:
            name, found = "/".join(map(str, change.key)), change.after
            say(f"    {name}  {found.extracted!r:.60}  {change.before.rule} -> {found.rule}")
    if len(changes) > MAX_SHOWN:
        say(f"every one: tbench grade {word(run)} --json")


def _row(change: "Change") -> dict[str, Any]:
    return {
        **change.key._asdict(),
        "before": change.before.status,
        "before_rule": change.before.rule,
        "after": change.after.status,
        "extracted": change.after.extracted,
        "rule": change.after.rule,
    }


def _ask_second(run: Path, second: str, *, num_workers: int, as_json: bool) -> None:
    from tbrm_bench.cli.progress import live_progress
    from tbrm_bench.run.pipeline import Progress
    from tbrm_bench.run.second_opinion import ask_second, total

    progress = Progress(num_total=0, num_done=0, num_resumed=0, stage=f"asking {second}")
    with live_progress() as show:

        def tell(num_done: int, num_total: int) -> None:
            progress.num_done, progress.num_total = num_done, num_total
            show(progress)

        file, tasks = ask_second(run, second, num_workers=num_workers, tell=tell)
    if as_json:
        rows = {"all": total(tasks).as_json(), "tasks": [task.as_json() for task in tasks]}
        print_json({"second": second, "file": str(file), **rows})
    else:
        _print_agreement(second, [*tasks, total(tasks)] if len(tasks) != 1 else tasks)
    everything = total(tasks)
    count = everything.only_ours + everything.only_second + everything.num_failed
    say(f"{file}: {count} samples for a person to look at")


def _print_agreement(second: str, tasks: "list[TaskAgreement]") -> None:
    from rich.table import Table

    table = Table(box=None, title=f"correct by this grader, by {second}", title_justify="left")
    for header in ("task", "samples", "agree %", "both", "neither", "only ours", "only theirs", "no verdict"):
        table.add_column(header, justify="left" if header == "task" else "right")
    for task in tasks:
        counts = (task.both_correct, task.neither_correct, task.only_ours, task.only_second, task.num_failed)
        table.add_row(task.task, str(task.num_samples), f"{100 * task.agreement:.2f}", *map(str, counts))
    tables().print(table)
