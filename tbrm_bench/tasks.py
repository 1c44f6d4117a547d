"""What a benchmark is: one TOML file in `tasks/`, read into a TaskSpec; and suites, which name tasks and a protocol.

`tasks/<name>.toml` says where the rows come from, which columns hold what, how many there are, how golds are
normalised and which are known to be wrong. `tasks/golds/<name>.txt` holds a digest of every gold, never the gold.
docs/tasks.md explains every key. Example, cut short:

    title = "Sums"
    num_rows = 30
    gold_rule = "integer"
    answer_kind = "integer"
    [columns]
    question = ["problem", "question"]
    answer = ["answer"]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.config import Count, NotNegative, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import AnswerKind
from tbrm_bench.resources import data_dir

ClusterRule = Literal["none", "preamble-60", "builtin"]
ErratumField = Literal["question", "answer"]


@dataclass(frozen=True, slots=True)
class HubSource:
    """Rows on the Hugging Face Hub. `revision` is a commit; `num_rows` where it differs from the task's."""

    repo: str
    split: str
    revision: str
    config: str | None = None
    num_rows: Count | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names, by what they hold, in order of preference; a field that is empty is not looked for.

    `question` is needed, and `answer` or else `solution`, whose last box is then the gold. An id that does not start
    with `id_prefix` gets it; where a source has none of the `id` columns, its rows are the task's in the task's order.
    `context` goes before the question. `abs_tolerance` overrides the task's, row by row.
    """

    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    solution: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    id_prefix: str = ""
    context: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    abs_tolerance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Erratum:
    """A correction of one value, applied where `old` is found; a source that has `new` already is left alone."""

    id: str
    field: ErratumField
    old: Any
    new: Any
    provenance: str


@dataclass(frozen=True, slots=True)
class Generator:
    """A source that makes its rows: `name` in tbrm_bench/generators/, and its seed."""

    name: Literal["arithmetic"]
    seed: int


@dataclass(frozen=True, slots=True)
class Example:
    """An invented row in the source's own columns, and the answers that its gold is normalised to."""

    row: Mapping[str, Any]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A benchmark. Tolerances are those of `records.Gold`; `files` are looked for in the folder given by --data."""

    name: str
    title: str
    source: str
    paper: str
    licence: str
    notes: str
    num_rows: Count
    answer_kind: AnswerKind
    cluster_rule: ClusterRule
    gold_rule: str = ""
    abs_tolerance: NotNegative = 0.0
    rel_tolerance: NotNegative = 0.0
    files: tuple[str, ...] = ()
    generator: Generator | None = None
    hub: HubSource | None = None
    columns: Columns | None = None
    errata: tuple[Erratum, ...] = ()
    example: Example | None = None

    def gold_digests(self) -> dict[str, str]:
        """Return the digest of every gold by problem id, in the task's order; empty if the task makes its rows."""
        return {} if self.generator else _read_digests(data_dir("tasks") / "golds" / f"{self.name}.txt")


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A named set of tasks and the protocol they are evaluated with unless another is given."""

    name: str
    title: str
    tasks: tuple[str, ...]
    protocol: str


def task_names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(path.stem for path in data_dir("tasks").glob("*.toml") if path.stem != "suites")


@cache
def load_task(name: str) -> TaskSpec:
    """Return the task; raises UserError for an unknown name and for a file with a mistake in it."""
    if name not in task_names():
        raise UserError(f"no task {name!r}; {did_you_mean(name, task_names())}")
    path = data_dir("tasks") / f"{name}.toml"
    return check_task(load_toml(path, TaskSpec, name=name), path)


def check_task(spec: TaskSpec, path: Path) -> TaskSpec:
    """Return the task if its parts fit together; raises UserError naming the file."""
    if (spec.generator is None) == (spec.columns is None):
        raise UserError(f"{path}: a task has either [generator] or [columns]; give one of them")
    if spec.columns is not None and not (spec.columns.answer or spec.columns.solution):
        raise UserError(f"{path}: [columns] names neither answer nor solution; add one")
    if spec.columns is not None and not (spec.gold_rule and spec.files):
        raise UserError(f"{path}: a task with rows of its own needs gold_rule and files; add them")
    return spec


def suite_names() -> list[str]:
    """Return the names of all suites, in the file's order."""
    return list(_load_suites())


def load_suite(name: str) -> SuiteSpec:
    """Return the suite; raises UserError for an unknown name."""
    suites = _load_suites()
    if name not in suites:
        raise UserError(f"no suite {name!r}; {did_you_mean(name, suites)}")
    table = suites[name]
    return SuiteSpec(name=name, title=table.title, tasks=table.tasks, protocol=table.protocol)


@dataclass(frozen=True, slots=True)
class _SuiteTable:
    title: str
    tasks: tuple[str, ...]
    protocol: str


@dataclass(frozen=True, slots=True)
class _SuitesFile:
    suites: Mapping[str, _SuiteTable]


@cache
def _load_suites() -> Mapping[str, _SuiteTable]:
    path = data_dir("tasks") / "suites.toml"
    suites = load_toml(path, _SuitesFile).suites
    for name, suite in suites.items():
        for task in suite.tasks:
            if task not in task_names():
                raise UserError(f"{path}: suite {name!r} names no task {task!r}; {did_you_mean(task, task_names())}")
    return suites


def _read_digests(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    digests: dict[str, str] = {}
    for line in lines:
        problem_id, _, digest = line.rpartition(" ")
        digests[problem_id] = digest
    return digests
