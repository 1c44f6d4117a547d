"""`tbench train compare RECIPE --arms tbrm,grpo`: algorithms under one recipe, with several training seeds."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tbrm_bench.cli.talk import print_data, print_json, say, tables, word
from tbrm_bench.errors import ExitCode
from tbrm_bench.foreign import for_terminal

if TYPE_CHECKING:
    from tbrm_train.comparison.plan import ComparisonPlan
    from tbrm_train.comparison.report import Table
    from tbrm_train.comparison.result import Result

# Columns that a narrow terminal omits; comparison.md has all of them.
WIDE_ONLY = ("95 % CI", "p (questions)", "forward", "backward", "rollout + update + sync", "n")
WIDE, USUAL = 125, 80
LONG_WORD = 12
FOOTNOTE = (
    "in points; ±: standard error over training seeds and questions, and its two parts; p: Student's t, Holm's "
    "correction;",
    "n: seeds; ledger: means over seeds. Every formula: docs/metrics.md, docs/train.md",
)
PANEL = "What is compared"


def compare(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The base recipe, of kind rl: what all arms share.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values that override the recipe, for all arms."),
    ] = None,
    arms: Annotated[
        str,
        typer.Option(
            metavar="ARM,ARM,...",
            help="Algorithms (tbrm, grpo, ...), recipes or arm files (TOML), each optionally as NAME=ARM.",
            rich_help_panel=PANEL,
        ),
    ] = "tbrm,grpo,ppo",
    seeds: Annotated[
        int, typer.Option(help="Trainings per arm: the recipe's seed and those after it.", rich_help_panel=PANEL)
    ] = 3,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=N",
            help="tokens=N (generated), trained_tokens=N, seconds=N or steps=N, the same for all arms "
            "(default: the recipe's own).",
            rich_help_panel=PANEL,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ARM:KEY=VALUE",
            help="Declare a difference of one arm; may be given several times.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The comparison's folder (default: the recipe's output, -compare)."),
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes of each training, by torchrun.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show arms, differences and trainings; train nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Train the same recipe with several algorithms and seeds, and compare them.

    The arms share model, prompts and their order, seeds, sampling, evaluation and budget.

    Any other difference must be declared, and is listed; an undeclared one is refused.

    Run the same command to resume.
    """
    from tbrm_train.comparison.plan import make_plan
    from tbrm_train.recipes.shipped import find_recipe

    plan = make_plan(
        find_recipe(recipe),
        overrides or [],
        arms=[arm for arm in arms.split(",") if arm],
        declared=set_ or [],
        num_seeds=seeds,
        budget=budget,
        output=out,
    )
    if dry_run:
        _print_plan(plan, as_json=json_)
        return
    from tbrm_train.comparison.flow import compare as run_comparison
    from tbrm_train.comparison.runs import launch_process

    result = run_comparison(plan, partial(launch_process, num_processes=processes), say)
    if json_:
        print_json(result.as_json())
    else:
        _print_result(result)
    say(f"next: open {word(plan.output / 'comparison.md')}")
    if not result.is_complete:
        say("some trainings failed; run the same command to retry them")
        raise typer.Exit(ExitCode.FAILED)


def _print_plan(plan: "ComparisonPlan", *, as_json: bool) -> None:
    from dataclasses import asdict

    from tbrm_train.comparison.report import differences_table

    if as_json:
        arms = [
            {"name": arm.name, "differences": [asdict(item) for item in arm.differences], "dropped": arm.dropped}
            for arm in plan.arms
        ]
        runs = [
            {"arm": run.arm.name, "seed": run.seed, "output": str(run.output), "finished": run.is_finished()}
            for run in plan.runs
        ]
        print_json({"output": str(plan.output), "arms": arms, "runs": runs})
        return
    _print_table(differences_table(plan))
    for number, run in enumerate(plan.runs, start=1):
        print_data(f"{number:3d}. {run.name}: {run.output}{' (finished)' if run.is_finished() else ''}")


def _print_result(result: "Result") -> None:
    from tbrm_train.comparison.report import differences_table, ledger_table, pairs_table, scores_tables

    for table in (differences_table(result.plan), *scores_tables(result), pairs_table(result), ledger_table(result)):
        _print_table(table)
    for note in result.notes:
        say(f"note: {note}")
    say(*FOOTNOTE)


def _print_table(table: "Table") -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    console = tables()
    shown = [n for n, name in enumerate(table.headers) if console.width >= WIDE or name not in WIDE_ONLY]
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, title=table.title, title_justify="left")
    for column in shown:
        name = table.headers[column]
        is_text = column == 0 or name in ("key", "declared by", "verdict", "task")
        # On a narrow terminal cells wrap between words; only long words, such as paths, are broken.
        words = " ".join([name, *(row[column] for row in table.rows)]).split()
        least = min(LONG_WORD, max(map(len, words))) if console.width >= USUAL and column else None
        drawn.add_column(name, justify="left" if is_text else "right", overflow="fold", min_width=least)
    for row in table.rows:
        drawn.add_row(*(Text(for_terminal(row[column]), style=_style(row[column])) for column in shown))
    console.print(drawn)


def _style(cell: str) -> str:
    for words, style in ((" is better", "green"), (" is worse", "red"), ("cannot tell", "yellow")):
        if cell.endswith(words):
            return style
    return ""
