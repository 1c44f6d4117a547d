"""`tbench tasks`: which benchmarks exist, what each is made of, and whether the rows you have are the right ones."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tbrm_bench.cli.talk import print_data, print_json, say, show_help, tables
from tbrm_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from tbrm_bench.tasks.task_check import TaskCheck

app = typer.Typer(
    help="List, show, check and export the benchmarks.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A name from `tbench tasks list`, or a TOML file.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the tasks' rows, instead of the Hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_help(context)
        raise typer.Exit(ExitCode.USAGE)


@app.command("list")
def list_tasks(json_: AsJson = False) -> None:
    """List tasks, suites and protocols."""
    from tbrm_bench.prompts.protocol import load_protocol, protocol_names
    from tbrm_bench.tasks.spec import load_suite, load_task, suite_names, task_names

    tasks = [load_task(name) for name in task_names()]
    suites = [load_suite(name) for name in suite_names()]
    protocols = [load_protocol(name) for name in protocol_names()]
    tables: dict[str, list[dict[str, Any]]] = {
        "tasks": [
            {"task": t.name, "rows": t.num_rows, "golds": t.gold_rule or t.source, "title": t.title} for t in tasks
        ],
        "suites": [{"suite": s.name, "protocol": s.protocol, "tasks": " ".join(s.tasks)} for s in suites],
        "protocols": [{"protocol": p.name, "template": p.template, "title": p.title} for p in protocols],
    }
    if json_:
        print_json(tables)
        return
    for rows in tables.values():
        _print_table(rows)


@app.command("show")
def show_task(task: TaskName, json_: AsJson = False) -> None:
    """Show where a task's rows come from, how its golds are read and what was corrected."""
    from tbrm_bench.tasks.spec import open_task

    facts = asdict(spec := open_task(task)) | {"file": str(spec.file or "")}
    if json_:
        print_json(facts)
        return
    for name, value in _flatten("", facts):
        print_data(f"{name:24} {value}")


@app.command("check")
def check_tasks(
    suite: Annotated[str | None, typer.Option(help="Check the tasks of a suite.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="A name or a TOML file; may be repeated (default: all).")
    ] = None,
    data: DataDir = None,
    json_: AsJson = False,
) -> None:
    """Check rows, golds and grader: counts, digests, and every gold in several spellings through its own grader."""
    from tbrm_bench.tasks.spec import load_suite, open_tasks, task_names
    from tbrm_bench.tasks.task_check import check_task

    if suite and task:
        raise UserError(f"--suite {suite} and --task {task[0]} were both given; give one of them")
    names = load_suite(suite).tasks if suite else task or task_names()
    checks = [check_task(spec, data_dir=data) for spec in open_tasks(names)]
    if json_:
        print_json([asdict(check) for check in checks])
    else:
        _print_checks(checks)
    if not all(check.passed for check in checks):
        only_unreachable = all(check.passed or check.unreachable for check in checks)
        raise typer.Exit(ExitCode.MISSING if only_unreachable else ExitCode.FAILED)


@app.command("export")
def export_task(
    task: TaskName,
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="File to write, one problem per line.")],
    data: DataDir = None,
) -> None:
    """Write a task's problems as they are asked and graded: ids, questions, normalised golds, tolerances, clusters."""
    from tbrm_bench.files import write_named
    from tbrm_bench.tasks.problems import load_problems
    from tbrm_bench.tasks.spec import open_task

    problems = load_problems(open_task(task), data_dir=data)
    rows = ({"id": p.key.problem_id, "question": p.question, **p.gold.values(), "cluster": p.cluster} for p in problems)
    write_named(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    say(f"{len(problems)} problems in {out}")


@app.command("digest")
def digest_task(task: TaskName, data: DataDir = None) -> None:
    """Print the lines of golds/TASK.txt, the file of digests beside a task's TOML: for adding a task."""
    from tbrm_bench.tasks.problems import digest_lines
    from tbrm_bench.tasks.spec import open_task

    print_data(*digest_lines(open_task(task), data))


def _print_checks(checks: Sequence["TaskCheck"]) -> None:
    _print_table(
        {
            "task": check.task,
            "rows": check.num_problems,
            "clusters": check.num_clusters,
            "golds": f"{check.num_golds_passed}/{check.num_problems}",
            "spellings": check.num_forms,
            "rows hash": check.rows_hash[:12],
            "": "FAILED" if not check.passed else "unverified" if check.unverified else "ok",
        }
        for check in checks
    )
    for check in checks:
        for failure in check.failures[:10]:
            print_data(f"{check.task}: {failure}")
        if len(check.failures) > 10:
            print_data(f"{check.task}: and {len(check.failures) - 10} more; --json prints all")
        if check.unverified:
            print_data(check.unverified)
        if check.repeated:
            print_data(check.repeated)


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    tables().print(table)


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Yield (dotted name, value) of everything in nested tables that is set."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _flatten(f"{prefix}.{number}", item)
    elif value not in (None, "", (), [], {}):
        yield prefix, " ".join(map(str, value)) if isinstance(value, list | tuple) else value
