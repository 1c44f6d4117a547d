"""comparison.md: what was compared, the final scores, the costs, the curves. The terminal shows the same tables.

| arm | avg | ± | seeds | questions | by seed |
|---|---|---|---|---|---|
| tbrm | 43.1 | 2.0 | 1.1 | 1.7 | 42.0 43.9 43.4 |
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from tbrm_bench.foreign import for_markdown
from tbrm_train.comparison.finals import VALIDATION_TASK

if TYPE_CHECKING:
    from tbrm_train.comparison.plan import ComparisonPlan
    from tbrm_train.comparison.result import Result

DASH = "-"


class Table(NamedTuple):
    """A table of text; the first column is a name, the others are numbers."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def differences_table(plan: "ComparisonPlan") -> Table:
    """Return how each arm differs from the base recipe, and where that is declared."""
    rows = []
    for arm in plan.arms:
        for item in arm.differences:
            rows.append((arm.name, item.key, _value(item.base), _value(item.arm), item.declared_by))
        if arm.dropped:
            keys = ", ".join(key if "." in key else f"algorithm.{key}" for key in arm.dropped)
            rows.append((arm.name, keys, "", "", f"dropped: {arm.recipe.algorithm.name} does not read it"))
        if not arm.differences and not arm.dropped:
            rows.append((arm.name, "(the base recipe)", "", "", ""))
    return Table("Arms", ("arm", "key", "base recipe", "arm", "declared by"), rows)


def scores_tables(result: "Result") -> list[Table]:
    """Return the final scores of the arms in points, one table per task."""
    tables = []
    for task in dict.fromkeys(row.task for row in result.scores):
        rows = [row for row in result.scores if row.task == task]
        samples, questions = rows[0].num_samples, rows[0].num_questions
        title = f"{'Held-out prompts' if task == VALIDATION_TASK else task} after training ({questions} questions)"
        lines = [
            (
                row.arm,
                points(row.score.mean),
                points(row.score.se),
                points(row.score.se_seeds),
                points(row.score.se_questions),
                " ".join(points(value) for value in row.by_seed),
            )
            for row in rows
        ]
        tables.append(Table(title, ("arm", f"avg@{samples}", "±", "seeds", "questions", "by seed"), lines))
    return tables


def pairs_table(result: "Result") -> Table:
    """Return every pair of arms, in points: the second minus the first."""
    rows = []
    for row in result.pairs:
        found = row.result.difference
        rows.append(
            (
                f"{row.other} - {row.base}",
                row.task,
                str(len(row.seeds)),
                points(found.mean, sign=True),
                points(found.se),
                points(found.se_seeds),
                points(found.se_questions),
                DASH if math.isnan(found.ci_low) else f"{100 * found.ci_low:+.1f} to {100 * found.ci_high:+.1f}",
                p_value(row.p_holm),
                p_value(row.p_questions_holm),
                f"{row.other} is {row.verdict}" if row.verdict != "cannot tell" else row.verdict,
            )
        )
    headers = ("pair", "task", "n", "difference", "±", "seeds", "questions", "95 % CI", "p", "p (questions)", "verdict")
    return Table("Differences", headers, rows)


def ledger_table(result: "Result") -> Table:
    """Return what the arms cost, the mean over their seeds."""
    rows = []
    for arm, ledger in result.ledgers.items():
        memory = ledger.memory_gib if math.isnan(ledger.gpu_memory_gib) else ledger.gpu_memory_gib
        rows.append(
            (
                arm,
                f"{ledger.steps:g}" if ledger.steps == int(ledger.steps) else f"{ledger.steps:.1f}",
                amount(ledger.generated_tokens),
                amount(ledger.trained_tokens),
                amount(ledger.forward_tokens),
                amount(ledger.backward_tokens),
                amount(ledger.flops),
                seconds(ledger.seconds),
                " + ".join(map(seconds, (ledger.rollout_s, ledger.update_s, ledger.sync_s))),
                f"{memory:.2f}",
            )
        )
    headers = (
        *("arm", "steps", "generated", "trained", "forward", "backward", "FLOPs", "seconds"),
        *("rollout + update + sync", "GiB"),
    )
    return Table("Ledger", headers, rows)


def report_markdown(result: "Result") -> str:
    """Return the report."""
    plan = result.plan
    seeds = ", ".join(map(str, plan.seeds))
    limits = [f"{name} = {value:g}" for name, value in asdict(plan.base.budget).items() if value is not None]
    limits.append(f"at most {plan.base.optimizer.steps} steps")
    parts = [
        f"# {for_markdown(', '.join(arm.name for arm in plan.arms))}",
        f"Model {for_markdown(plan.base.model)}, prompts {for_markdown(plan.base.prompts.source)}, training seeds "
        f"{seeds}; budget: {', '.join(limits)}. The arms differ only in what the first table lists.",
        *(
            [f"**Read this first.** {for_markdown(' '.join(_sentence(note) for note in result.notes))}"]
            if result.notes
            else []
        ),
        _section(differences_table(plan)),
        *map(_section, scores_tables(result)),
        _section(pairs_table(result)),
        "In percentage points. ±: standard error over training seeds and questions, and its two parts; p: Student's t, "
        "p (questions): sign flips over the questions, for these trained models only; both with Holm's correction over "
        "all pairs and tasks.",
        "## Learning curves",
        "![validation score against generated tokens](curves.svg)",
        "The points are in curves.csv.",
        _section(ledger_table(result)),
        "Means over seeds, for memory the maximum. generated, trained: tokens; forward, backward: trained tokens times "
        "passes; FLOPs of rollouts and updates. Passes of an update per trained token: "
        + "; ".join(f"{for_markdown(name)}: {passes}" for name, passes in result.passes.items())
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _section(table: Table) -> str:
    return f"## {for_markdown(table.title)}\n\n" + markdown_table(table)


def markdown_table(table: Table) -> str:
    """Return a table in Markdown, with its cells escaped."""
    lines = [" | ".join(map(for_markdown, cells)) for cells in (table.headers, *table.rows)]
    lines.insert(1, " | ".join("---" for _ in table.headers))
    return "\n".join(f"| {line} |" for line in lines)


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:] + "."


def points(value: float, *, sign: bool = False) -> str:
    """Return a fraction in percentage points; a dash if it is undefined."""
    if math.isnan(value):
        return DASH
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def p_value(value: float) -> str:
    """Return a p-value with two digits, a dash if it is undefined."""
    return DASH if math.isnan(value) else f"{value:.2g}"


def seconds(value: float) -> str:
    """Return seconds, with one decimal below 100."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def amount(value: float) -> str:
    """Return a large number with four digits and a suffix k, M, G, T, P or E."""
    if math.isnan(value):
        return DASH
    power = 0
    while abs(value) >= 999.95 and power < 6:
        value, power = value / 1000, power + 1
    return f"{value:.4g}{' kMGTPE'[power].strip()}"


def _value(value: object) -> str:
    return "(unset)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
