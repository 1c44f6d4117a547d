"""`tbench compare RUN_A RUN_B ...`: differences on the same problems, with their errors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tbrm_bench.cli.talk import print_json, say, tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tbrm_bench.run.comparison import ComparedTask, Comparison

# Columns that a narrow terminal goes without.
WIDE_ONLY = ("95 % CI", "detectable")
WIDE = 100
FOOTNOTE = (
    "difference: in points, on the same problems, ± its standard error; p: sign-flip test, Holm's correction;",
    "detectable: the difference found four times in five. Every formula: docs/compare.md",
)
HEADERS = ("task", "n", "base", "other", "difference", "95 % CI", "p", "detectable", "other is")
COLORS = {"better": "green", "worse": "red", "cannot tell": "yellow"}


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_A RUN_B...", help="Run directories; the first is the base.")
    ],
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway", help="Compare runs even if their locks differ in more than the model; label the result."
        ),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare runs with the first one, problem by problem."""
    from tbrm_bench.run.comparison import compare_runs

    comparisons = compare_runs(runs, anyway=anyway)
    if json_:
        print_json([comparison.as_json() for comparison in comparisons])
        return
    for comparison in comparisons:
        _print(comparison, tables())
    say(*FOOTNOTE)


def _print(comparison: "Comparison", console: "Console") -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{comparison.base}  ->  {comparison.other}")
    shown = [name for name in HEADERS if console.width >= WIDE or name not in WIDE_ONLY]
    for header in shown:
        table.add_column(header, justify="left" if header in ("task", "other is") else "right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*map(_cells(row).__getitem__, shown))
    if len(comparison.rows) > 1:
        table.add_section()
        table.add_row(*map(_cells(comparison.macro).__getitem__, shown))
    console.print(table)
    if comparison.only_in_one:
        console.print(f"not compared, because one run lacks them: {', '.join(comparison.only_in_one)}")
    if comparison.differences:
        fields = ", ".join(field for field, _, _ in comparison.differences)
        console.print(f"not comparable: these fields of the locks differ: {fields}", style="red")


def _cells(row: "ComparedTask") -> dict[str, "str | Text"]:
    from rich.text import Text

    from tbrm_bench.run.comparison import verdict

    delta, told = row.difference, verdict(row)
    return {
        "task": row.task,
        "n": str(row.num_problems),
        "base": f"{100 * row.base:.1f}",
        "other": f"{100 * row.other:.1f}",
        "difference": f"{100 * delta.mean:+.1f} ± {100 * delta.se:.1f}",
        "95 % CI": f"{100 * delta.ci_low:+.1f} to {100 * delta.ci_high:+.1f}",
        "p": f"{row.p_holm:.2g}",
        "detectable": f"{100 * delta.detectable:.1f}",
        "other is": Text(told, style=COLORS[told]),
    }
