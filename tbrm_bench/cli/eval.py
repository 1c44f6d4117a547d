"""`tbench eval MODEL`: generate, grade and score; run the same command to resume."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tbrm_bench.cli.talk import print_data, print_json, say, tables, warn, word
from tbrm_bench.engines import DEFAULT_ENGINE, ENGINES, engine_class
from tbrm_bench.errors import UserError

if TYPE_CHECKING:
    from tbrm_bench.run.plan import Plan

SAMPLING = "What to measure"
RUNNING = "How to run it"
Tasks = Annotated[
    list[str] | None, typer.Option(help="Task, by name or TOML file; may be repeated.", rich_help_panel=SAMPLING)
]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Local folder, Hub id (owner/name or owner/name@revision) or builtin:tiny."
        ),
    ],
    suite: Annotated[
        str | None, typer.Option(help="Set of tasks, by name (default: quickstart).", rich_help_panel=SAMPLING)
    ] = None,
    task: Tasks = None,
    protocol: Annotated[
        str | None, typer.Option(help="Name or TOML file (default: the suite's).", rich_help_panel=SAMPLING)
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Samples per problem (overrides the protocol).", rich_help_panel=SAMPLING)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Maximum new tokens per sample (overrides the protocol).", rich_help_panel=SAMPLING),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Use only the first N rows of each task.", rich_help_panel=SAMPLING)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the tasks' rows, instead of the Hub.", rich_help_panel=SAMPLING)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run directory (default: runs/<model>-<protocol>-<lock>).", rich_help_panel=RUNNING),
    ] = None,
    engine: Annotated[str, typer.Option(help=f"{' or '.join(ENGINES)}.", rich_help_panel=RUNNING)] = DEFAULT_ENGINE,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="device, dtype, tensor_parallel, trust_remote_code, max_num_seqs, seed, grader_workers.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Push the finished run to this dataset repository.", rich_help_panel=RUNNING),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be generated, and stop.", rich_help_panel=RUNNING)
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print results.json instead of the table.", rich_help_panel=RUNNING)
    ] = False,
) -> None:
    """Evaluate a model: k samples for every problem, graded, with error bars.

    Run the same command to resume a run that was interrupted or killed, or with more --samples to extend it.
    """
    # Before anything imports torch, which prints its start-up notes past Python's stderr.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from tbrm_bench.config import from_words
    from tbrm_bench.run.plan import EvalOptions, Settings
    from tbrm_bench.run.prepare import prepare

    engine_class(engine)  # an unknown name fails before the imports
    if push is not None:
        _check_push(push)
    tasks, suite_protocol = _choose_tasks(suite, task)
    options = EvalOptions(
        model=model,
        tasks=tasks,
        protocol=protocol or suite_protocol,
        engine=engine,
        samples=samples,
        max_tokens=max_tokens,
        limit=limit,
        data_dir=data,
        out=out,
        settings=from_words(set_ or [], Settings, place="--set"),
    )
    _carry_out(prepare(options), push=push, dry_run=dry_run, as_json=json_)


def _carry_out(plan: "Plan", *, push: str | None, dry_run: bool, as_json: bool) -> None:
    for warning in plan.warnings:
        warn(warning)
    if dry_run:
        _print_plan(plan, as_json=as_json)
        return
    _run(plan, as_json=as_json)
    if push is not None:
        _push(plan.run_dir, push)


def _choose_tasks(suite: str | None, task: list[str] | None) -> tuple[tuple[str, ...], str]:
    """Return the tasks and the protocol to use when none is given."""
    from tbrm_bench.tasks.spec import load_suite

    if suite and task:
        raise UserError(f"--suite {suite} and --task {task[0]} were both given; give one of them")
    if task:
        # The protocol of the six benchmarks covers every task; the quickstart's is made for its own.
        chosen = load_suite("quickstart")
        return tuple(task), chosen.protocol if set(task) <= set(chosen.tasks) else load_suite("tbrm6").protocol
    chosen = load_suite(suite or "quickstart")
    return chosen.tasks, chosen.protocol


def _run(plan: "Plan", *, as_json: bool) -> None:

    from tbrm_bench.cli.progress import live_progress
    from tbrm_bench.report.terminal import render_result
    from tbrm_bench.run.pipeline import run
    from tbrm_bench.run.result_json import result_data

    try:
        with live_progress() as observer:
            result = run(plan, observer)
    except KeyboardInterrupt:
        say(f"{plan.run_dir} keeps the finished samples; run the same command to resume")
        raise
    if as_json:
        print_json(result_data(result))
    else:
        render_result(result, tables())
    say(plan.run_dir, f"next: tbench show {word(plan.run_dir)}")


def _check_push(repo: str) -> None:
    """Raise for a wrong name or a missing token now, not after hours of generating."""
    from tbrm_bench.hub.client import require_token
    from tbrm_bench.hub.repo import checked_repo_id

    checked_repo_id(repo)
    require_token()


def _push(run_dir: Path, repo: str) -> None:
    """Push; if that fails, the run is complete all the same, and the command that pushes it is printed."""
    from tbrm_bench.cli.hub import talking_backoff
    from tbrm_bench.publish import push_run

    try:
        say(f"pushed: {push_run(run_dir, repo, backoff=talking_backoff()).url}")
    except UserError:
        say(f"the run is complete; to push it, run: tbench push {word(run_dir)} {word(repo)}")
        raise


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    from tbrm_bench.provenance import digest

    rows: list[dict[str, Any]] = [
        {
            "task": task.name,
            "problems": len(task.problems),
            "samples": task.num_samples,
            "longest_prompt": max(len(prompt.token_ids) for prompt in task.prompts),
            "max_tokens": task.sampling.max_tokens,
            "temperature": task.sampling.temperature,
            "top_p": task.sampling.top_p,
        }
        for task in plan.tasks
    ]
    facts = {
        "run_dir": str(plan.run_dir),
        "protocol": plan.protocol.name,
        "num_samples": plan.num_samples,
        "max_new_tokens": plan.max_new_tokens,
        "lock_hash": digest(plan.lock),
        "lock": plan.lock,
    }
    if as_json:
        print_json({"tasks": rows, **facts})
    else:
        _print_plan_table(rows, facts)


def _print_plan_table(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="would be generated")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "task" else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    tables().print(table)
    engine = facts["lock"]["engine"]
    print_data(f"samples     {facts['num_samples']:,}")
    print_data(f"new tokens  {facts['max_new_tokens']:,} at most")
    print_data(f"engine      {engine['name']} {engine['version']}, {engine['device']}, {engine['dtype']}")
    print_data(f"protocol    {facts['protocol']}")
    print_data(f"lock        {facts['lock_hash']}")
    print_data(f"run         {facts['run_dir']}")
