"""A RunResult as tables in a terminal: scores, the pass@k curve, what became of the samples, what each column means.

     task         n   k        avg@k    sd   maj@k   truncated
     invented   120   8   48.5 ± 3.0   1.3    71.7         5.3

Every number is defined in docs/metrics.md. Names come from outside: they are printed as they are, never read as markup,
and characters that could steer the terminal are shown escaped.
"""

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tbrm_bench.foreign import for_terminal
from tbrm_bench.records import MacroScore, RunResult, Status, TaskScore

CURVE_CELLS = 10
# Truncation above this share is shown in yellow: a score is then a statement about the token cap as well.
MANY_TRUNCATED = 0.05


@dataclass(frozen=True, slots=True)
class _Glyphs:
    """The characters beyond letters and digits, for a terminal with Unicode and for one without."""

    plus_minus: str
    dash: str
    dot: str
    levels: str
    ascii_only: bool

    def name(self, text: str) -> str:
        """Return a foreign name so that it prints literally."""
        return for_terminal(text, ascii_only=self.ascii_only)

    def percent(self, share: float) -> str:
        return self.dash if math.isnan(share) else f"{100 * share:.1f}"

    def estimate(self, mean: float, se: float) -> str:
        return self.dash if math.isnan(mean) else f"{self.percent(mean)} {self.plus_minus} {self.percent(se)}"

    def interval(self, low: float, high: float) -> str:
        return self.dash if math.isnan(low) else f"{100 * low:.1f} {self.dash} {100 * high:4.1f}"

    def tokens(self, number: float) -> str:
        return self.dash if math.isnan(number) else f"{number:,.0f}"

    def curve(self, values: Iterable[float]) -> str:
        """Return one character per value; its height is the value between 0 and 1."""
        top = len(self.levels) - 1
        return "".join(" " if math.isnan(v) else self.levels[min(int(v * len(self.levels)), top)] for v in values)


UNICODE = _Glyphs("±", "–", "·", "▁▂▃▄▅▆▇█", ascii_only=False)  # noqa: RUF001
ASCII = _Glyphs("+-", "-", "|", "_.,:-=+*#", ascii_only=True)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its header and what it shows of a task and of the mean over the tasks."""

    header: str
    of_task: Callable[[TaskScore], str | Text]
    of_macro: Callable[[MacroScore], str] = lambda _: ""
    style: str = ""
    justify_left: bool = False


def render_result(result: RunResult, console: Console) -> None:
    """Print the result; it fits 80 columns and puts scores and samples side by side where there is room."""
    glyphs = ASCII if console.options.ascii_only else UNICODE
    scores, outcomes = _score_columns(glyphs), _outcome_columns(glyphs)
    parts = [_table("task", [*scores, *outcomes], result, glyphs)]
    if not _fits(parts[0], console):
        parts = [_table("task", scores, result, glyphs), _table("samples", outcomes, result, glyphs)]
    if any(task.num_samples > 1 for task in result.tasks):
        parts.insert(1, _pass_table(result, glyphs, console))
    parts.append(_footnotes(result, glyphs))
    if all(math.isnan(task.avg) for task in result.tasks):
        parts = [_table("task", scores, result, glyphs)]  # nothing but dashes to show and to explain
    console.print(Group(_heading(result, glyphs), *parts, *_open_work(result, glyphs)), highlight=False)


def _score_columns(glyphs: _Glyphs) -> list[_Column]:
    return [
        _Column("n", lambda task: str(task.num_problems)),
        _Column("k", lambda task: str(task.num_samples)),
        _Column(
            "avg@k",
            lambda task: _average(task, glyphs),
            lambda macro: glyphs.estimate(macro.avg, macro.se),
            style="bold",
        ),
        _Column(
            "95 % CI",
            lambda task: glyphs.interval(task.ci_low, task.ci_high),
            lambda macro: glyphs.interval(macro.ci_low, macro.ci_high),
        ),
        _Column("sd", lambda task: glyphs.percent(task.sampling_sd)),
        _Column("maj@k", lambda task: glyphs.percent(task.maj), lambda macro: glyphs.percent(macro.maj)),
    ]


def _outcome_columns(glyphs: _Glyphs) -> list[_Column]:
    return [
        _Column("truncated", lambda task: _truncated(task, glyphs)),
        _Column("no answer", lambda task: glyphs.percent(task.status_rates[Status.NO_ANSWER])),
        _Column("failed", lambda task: glyphs.percent(task.status_rates[Status.ERROR])),
        _Column("at cap", lambda task: glyphs.percent(task.cap_rate)),
        _Column("tokens", lambda task: glyphs.tokens(task.mean_tokens)),
    ]


def _average(task: TaskScore, glyphs: _Glyphs) -> str | Text:
    total = task.num_problems * task.num_samples
    if task.num_missing:
        return Text(f"incomplete {total - task.num_missing}/{total}", style="yellow")
    if task.num_ungraded:
        return Text(f"graded {total - task.num_ungraded}/{total}", style="yellow")
    return glyphs.estimate(task.avg, task.se)


def _truncated(task: TaskScore, glyphs: _Glyphs) -> Text:
    rate = task.status_rates[Status.TRUNCATED]
    return Text(glyphs.percent(rate), style="yellow" if rate > MANY_TRUNCATED else "")


def _table(first: str, columns: Sequence[_Column], result: RunResult, glyphs: _Glyphs) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column(first, overflow="fold", style="cyan")
    for column in columns:
        table.add_column(
            column.header, justify="left" if column.justify_left else "right", style=column.style, no_wrap=True
        )
    for index, task in enumerate(result.tasks, start=1):
        cells = [column.of_task(task) for column in columns]
        table.add_row(Text(glyphs.name(task.task)), *map(_text, cells), end_section=index == len(result.tasks))
    means = [column.of_macro(result.macro) for column in columns]
    if len(result.tasks) > 1 and any(means):
        table.add_row(Text(f"mean of {len(result.tasks)} tasks"), *map(_text, means))
    return table


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _fits(table: Table, console: Console) -> bool:
    options: ConsoleOptions = console.options.update(width=10_000)
    return Measurement.get(console, options, table).maximum <= console.width


def _pass_table(result: RunResult, glyphs: _Glyphs, console: Console) -> Table:
    """The numbers at powers of two and at each task's k, as many as fit, then the curve over all k."""
    largest = max(task.num_samples for task in result.tasks)
    ks = sorted({2**i for i in range(largest.bit_length())} | {task.num_samples for task in result.tasks})

    def curve(scores: TaskScore | MacroScore) -> str:
        steps = _log_steps(max(scores.pass_at, default=0))
        return glyphs.curve(scores.pass_at[k] for k in steps) if len(steps) > 1 else ""

    def column(k: int) -> _Column:
        nan = float("nan")
        return _Column(
            str(k),
            lambda task: glyphs.percent(task.pass_at.get(k, nan)),
            lambda macro: glyphs.percent(macro.pass_at.get(k, nan)),
        )

    last = _Column("curve", curve, curve, style="green", justify_left=True)
    for num_shown in range(len(ks), 1, -1):
        table = _table("pass@k", [*map(column, _spread(ks, num_shown)), last], result, glyphs)
        if _fits(table, console):
            break
    return table


def _spread(values: Sequence[int], limit: int) -> list[int]:
    """Keep `limit` values, the first and the last among them, evenly spread by rank; 2 <= limit <= len(values)."""
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]


def _log_steps(largest: int) -> list[int]:
    """Return at most CURVE_CELLS different k from 1 to `largest`, evenly spread by logarithm."""
    return sorted({round(largest ** (i / (CURVE_CELLS - 1))) for i in range(CURVE_CELLS)}) if largest else []


def _heading(result: RunResult, glyphs: _Glyphs) -> RenderableType:
    facts = [f"{key} {result.about[key]}" for key in ("model", "protocol") if isinstance(result.about.get(key), str)]
    facts += [f"grader {result.grader}", f"lock {result.lock_hash[:12]}"]
    line = Text(glyphs.name(f" {glyphs.dot} ".join(facts)), style="dim", overflow="fold")
    return Group(Text(glyphs.name(result.name), style="bold", overflow="fold"), line)


def _open_work(result: RunResult, glyphs: _Glyphs) -> list[RenderableType]:
    """Print what is missing and what to type, or nothing."""
    total = sum(task.num_problems * task.num_samples for task in result.tasks)
    lines = []
    if missing := sum(task.num_missing for task in result.tasks):
        command = result.about.get("command")
        known = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
        how = shlex.join(command) if known else "run the same tbench eval command again"  # type: ignore[arg-type]
        lines.append(f"Incomplete: {missing:,} of {total:,} samples are missing, so no score is given for their tasks.")
        lines.append(f"To generate only these: {glyphs.name(how)}")
    if ungraded := sum(task.num_ungraded for task in result.tasks):
        lines.append(f"Not graded: {ungraded:,} of {total - missing:,} stored samples have no verdict by this grader.")
        lines.append(f"To grade them: tbench grade RUN (the folder of {glyphs.name(result.name)})")
    return [Text("\n".join(["", *lines]), style="yellow", overflow="fold")] if lines else []


def _footnotes(result: RunResult, glyphs: _Glyphs) -> Table:
    clustered = [
        f"{glyphs.name(task.task)} ({task.num_clusters} clusters)"
        for task in result.tasks
        if task.num_clusters < task.num_problems
    ]
    over = f"over problems; clustered for {', '.join(clustered)}" if clustered else "over problems"
    notes = [
        ("n, k", "problems, samples of each; all but these and tokens is in percent"),
        ("avg@k", f"mean share of correct samples {glyphs.plus_minus} standard error {over}"),
        ("95 % CI", "Wilson interval, Student's t, effective size from the standard error"),
        ("sd", "how far avg@k moves when the same problems are answered again"),
        ("maj@k", "score of the answer that most samples give, ties in equal parts"),
        ("pass@k", "chance that one of k samples is correct; curve: log k, 0 to 100"),
        ("truncated", "met the token cap without an answer; at cap: with or without one"),
        ("no answer", "ended without one; failed: the gold or the grader did, not the answer"),
        ("tokens", "mean length of a completion; every formula: docs/metrics.md"),
    ]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim bold", no_wrap=True)
    grid.add_column(style="dim", overflow="fold")
    for term, meaning in notes:
        grid.add_row(Text(term), Text(meaning))
    return grid
