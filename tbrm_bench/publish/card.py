"""The dataset card: what the Hub shows of a results repository, made anew from all its runs at every push.

    | run | model | arithmetic avg@k | mean |
    |---|---|---|---|
    | tiny-quickstart-1a2b3c4d | builtin:tiny | 48.5 ± 3.0 (k=8) | 48.5 ± 3.0 |

Names come from outside: everything that Markdown or HTML could read as more than a letter becomes a character entity.
"""

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tbrm_bench.foreign import for_markdown
from tbrm_bench.records import RunResult, Status, TaskScore
from tbrm_bench.store.run_file import RunFile

DASH = "–"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class CardRun:
    """One run as the card shows it."""

    name: str
    run: RunFile
    result: RunResult


def card(repo: str, runs: Iterable[CardRun]) -> str:
    """Return the README.md of a repository with these runs; the same runs in any order give the same card."""
    ordered = sorted(runs, key=lambda one: one.name)
    tasks = list(dict.fromkeys(task.task for one in ordered for task in one.result.tasks))
    parts = [
        f"---\n{_front_matter(tasks)}---",
        "# Evaluation results",
        "Samples, verdicts and scores of mathematical reasoning, written by `tbench push`.",
        _score_table(ordered, tasks),
        _legend(),
        "## Use",
        _use(repo, ordered, tasks),
        "## Runs",
        *(_section(one) for one in ordered),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(tasks: Sequence[str]) -> str:
    import yaml

    configs = [
        {"config_name": task, "data_files": [{"split": "test", "path": f"data/{task}/*/*.parquet"}]} for task in tasks
    ]
    facts = {"pretty_name": "Evaluation results", "tags": ["evaluation", "mathematics", "tbrm-bench"]}
    return str(yaml.safe_dump({**facts, "configs": configs}, sort_keys=False, allow_unicode=True))


def _score_table(runs: Sequence[CardRun], tasks: Sequence[str]) -> str:
    rows = []
    for one in runs:
        scores = {task.task: task for task in one.result.tasks}
        cells = [_estimate_with_k(scores.get(task)) for task in tasks]
        macro = one.result.macro
        rows.append(
            [
                for_markdown(one.name),
                for_markdown(one.run.about.get("model", "")),
                *cells,
                _estimate(macro.avg, macro.se),
            ]
        )
    return _table(["run", "model", *(f"{for_markdown(task)} avg@k" for task in tasks), "mean"], rows)


def _legend() -> str:
    return (
        "avg@k is the share of correct samples in percent, the mean over problems of the mean over k samples; ± is one "
        "standard error over problems (clustered where problems share a text), and contains the noise of sampling. The "
        f"mean is over the tasks, unweighted. {DASH} stands for a run that is not complete: nothing missing is divided "
        "away."
    )


def _use(repo: str, runs: Sequence[CardRun], tasks: Sequence[str]) -> str:
    task = tasks[0] if tasks else "TASK"
    lines = ["```python", "from datasets import load_dataset", ""]
    lines += [f'samples = load_dataset("{repo}", "{task}", split="test")']
    lines += ['correct = samples.filter(lambda row: row["status"] == "correct")', "```", ""]
    lines += ["One row is one sample with its verdict; the column `run` tells runs apart. As run directories again, to"]
    lines += ["grade anew, show or compare:", "", "```sh"]
    several = len(runs) > 1
    lines += [f"tbench pull {repo} {one.name}{f' --run {one.name}' if several else ''}" for one in runs[:3]]
    return "\n".join([*lines, "```"])


def _section(one: CardRun) -> str:
    about, lock = one.run.about, one.run.lock
    facts = {
        "model": _joined(about.get("model"), about.get("commit")),
        "protocol": one.result.about.get("protocol"),
        "engine": _engine(lock.get("engine")),
        "grader": one.result.grader,
        "created": about.get("created"),
        "lock": one.run.lock_hash,
        "versions": ", ".join(f"{name} {version}" for name, version in _mapping(about.get("versions")).items()),
    }
    lines = [f"- {name}: {for_markdown(value)}" for name, value in facts.items() if value]
    return "\n\n".join(
        [f"### {for_markdown(one.name)}", "\n".join(lines), details(one.run, one.result), _reproduce(about)]
    ).rstrip()


def details(run: RunFile, result: RunResult) -> str:
    """Return the table of a run: a row per task, percent with standard error and interval."""
    headers = ["task", "n", "k", "avg@k", "95 % CI", "pass@k", "maj@k", "truncated", "limit", "failed"]
    headers += ["temperature", "top-p", "token cap"]
    rows = []
    for task in result.tasks:
        locked = _mapping(_mapping(run.lock.get("tasks")).get(task.task))
        rows.append(
            [
                for_markdown(task.task),
                str(task.num_problems),
                str(task.num_samples),
                _estimate(task.avg, task.se) if not math.isnan(task.avg) else _open(task),
                f"{_percent(task.ci_low)} {DASH} {_percent(task.ci_high)}",
                _percent(task.pass_at.get(task.num_samples, math.nan)),
                _percent(task.maj),
                _percent(task.status_rates[Status.TRUNCATED]),
                _percent(task.status_rates[Status.TIMEOUT]),
                _percent(task.status_rates[Status.ERROR]),
                *(for_markdown(locked.get(name, DASH)) for name in ("temperature", "top_p", "max_tokens")),
            ]
        )
    return _table(headers, rows)


def _open(task: TaskScore) -> str:
    expected = task.num_problems * task.num_samples
    return f"incomplete {expected - task.num_missing - task.num_ungraded}/{expected}"


def _reproduce(about: Mapping[str, Any]) -> str:
    command = about.get("command")
    if not isinstance(command, list) or not command:
        return ""
    line = " ".join(shlex.join(map(str, command)).split())
    # A fence longer than any run of backticks in the command cannot be closed by it.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"The command, with the versions above:\n\n{fence}sh\n{line}\n{fence}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _percent(share: float) -> str:
    return DASH if math.isnan(share) else f"{100 * share:.1f}"


def _estimate(mean: float, se: float) -> str:
    return DASH if math.isnan(mean) else f"{_percent(mean)} ± {_percent(se)}"


def _estimate_with_k(task: TaskScore | None) -> str:
    if task is None:
        return ""
    return _estimate(task.avg, task.se) + ("" if math.isnan(task.avg) else f" (k={task.num_samples})")


def _joined(model: object, commit: object) -> str:
    return f"{model} at {commit}" if commit else str(model or "")


def _engine(engine: object) -> str:
    known = _mapping(engine)
    return ", ".join(f"{name} {value}" for name, value in known.items() if isinstance(value, str | int | float | bool))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
