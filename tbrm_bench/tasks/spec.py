"""What a benchmark is: one TOML file, read into a TaskSpec; and suites, which name tasks and a protocol.

`tasks/<name>.toml`, or a file anywhere else, says where the rows come from, which columns hold what, how many there
are, how golds are normalised and which are known to be wrong. `golds/<name>.txt` beside it holds a digest of every
gold, never the gold. docs/tasks.md explains every key. The least that a task needs, its rows beside it in
sums.jsonl:

    title = "Sums"
    num_rows = 30
    gold_rule = "integer"
    [columns]
    question = ["problem", "question"]
    answer = ["answer"]
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.config import Count, NotNegative, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text
from tbrm_bench.grading.normalize import check_rule
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import AnswerKind
from tbrm_bench.resources import data_dir
from tbrm_bench.tasks.generators import GYM, gym_datasets
from tbrm_bench.tasks.generators import NAMES as GENERATORS

ClusterRule = Literal["none", "preamble-60", "builtin"]
ErratumField = Literal["question", "answer"]
GYM_ROWS = 100
FOR_ROWS = ("gold_rule", "abs_tolerance", "rel_tolerance", "files", "hub", "errata", "example")
_NAME = re.compile(r"\w[\w .+-]*")
_DIGEST = re.compile("(.+) ([0-9a-f]{8})")


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
    `context` goes before the question. `abs_tolerance` overrides the task's, row by row. `alternatives` holds further
    golds, a list of which each member is right as well; without `answer` and `solution` its first is the gold.
    """

    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    solution: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    id_prefix: str = ""
    context: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    abs_tolerance: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Erratum:
    """A correction of one value, applied where `old` is found; a source that has `new` already is left alone."""

    id: str
    field: ErratumField
    old: Any
    new: Any
    provenance: str
    part: bool = False  # `old` is a part of a text: only it is replaced, and a text without it is left alone


@dataclass(frozen=True, slots=True)
class Generator:
    """A source that makes its rows: `name` as in tbrm_bench/tasks/generators/, its seed, each dataset's own options."""

    name: str
    seed: int
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """An invented row in the source's own columns, and the answers that its gold is normalised to."""

    row: Mapping[str, Any]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A benchmark. Tolerances are those of `records.Gold`.

    `files` (name.jsonl or name.parquet) are looked for in the folder given by --data, then beside `file`, the task's
    own.
    """

    name: str
    title: str
    source: str = ""
    paper: str = ""
    licence: str = ""
    notes: str = ""
    num_rows: Count
    answer_kind: AnswerKind = "auto"
    cluster_rule: ClusterRule = "none"
    gold_rule: str = ""
    abs_tolerance: NotNegative = 0.0
    rel_tolerance: NotNegative = 0.0
    files: tuple[str, ...] = ()
    generator: Generator | None = None
    hub: HubSource | None = None
    columns: Columns | None = None
    errata: tuple[Erratum, ...] = ()
    example: Example | None = None
    file: Path | None = None

    @property
    def digests_file(self) -> Path:
        """Where the digests of its golds are, if there are any."""
        folder = data_dir("tasks") if self.file is None else self.file.parent
        return folder / "golds" / f"{self.name}.txt"

    def gold_digests(self) -> dict[str, str]:
        """Return the digest of every gold by problem id, in the task's order; empty if there are none.

        Raises UserError for a file of digests that cannot be read.
        """
        return {} if self.generator else _read_digests(self.digests_file)

    def why_unverified(self) -> str:
        """Return that nothing shows whether rows are this task's, and the way out; empty where something does."""
        if self.generator or self.gold_digests():
            return ""
        name, to = (shlex.quote(str(path)) for path in (self.file or self.name, self.digests_file))
        folder = "" if self.digests_file.parent.is_dir() else f"mkdir -p {shlex.quote(str(self.digests_file.parent))}; "
        return (
            f"task {self.name} has no digests of its golds, so its rows are not verified; to make them: "
            f"{folder}tbench tasks digest {name} > {to}"
        )


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
    """Return a shipped task; raises UserError for an unknown name and for a file with a mistake in it."""
    if name not in task_names():
        raise UserError(f"no task {name!r}; {did_you_mean(name, task_names())}")
    return _read_task(data_dir("tasks") / f"{name}.toml")


def open_task(name_or_file: str) -> TaskSpec:
    """Return a shipped task by name, or the task of a file when the text ends in `.toml`; raises UserError.

    `reasoning-gym:NAME` is a task of GYM_ROWS problems of that dataset with its defaults and seed 0.
    """
    path = Path(name_or_file)
    if not name_or_file.endswith(".toml"):
        if datasets := gym_datasets(name_or_file):
            name = GYM + ",".join(datasets)
            generator = Generator(name, seed=0)
            return TaskSpec(
                name=name, title=name, num_rows=GYM_ROWS, cluster_rule="builtin", source=name, generator=generator
            )
        if name_or_file not in task_names() and (path.exists() or len(path.parts) > 1):
            raise UserError(f"{path} is not a task file; its name must end in .toml")
        if name_or_file not in task_names() and Path(f"{path}.toml").is_file():
            raise UserError(f"no task {name_or_file!r} is shipped; to use the file, give {path}.toml")
        return load_task(name_or_file)
    if not _NAME.fullmatch(path.stem):
        raise UserError(
            f"{path}: the file's name is the task's, and {path.stem!r} holds more than letters, digits, spaces and "
            "'-_.+'; rename the file"
        )
    if path.stem in task_names() and path.is_file():
        if path.samefile(data_dir("tasks") / path.name):
            return load_task(path.stem)
        raise UserError(f"{path}: {path.stem!r} is the name of a task that is shipped; rename the file")
    return _read_task(path)


def open_tasks(names_or_files: Iterable[str]) -> list[TaskSpec]:
    """Return the tasks, each once, in their order; raises UserError where two of them have one name."""
    specs: dict[str, TaskSpec] = {}
    for name_or_file in names_or_files:
        spec = open_task(name_or_file)
        first = specs.setdefault(spec.name, spec)
        if first.file and spec.file and not first.file.samefile(spec.file):
            raise UserError(f"{first.file} and {spec.file} are both called {spec.name!r}; rename one of them")
    return list(specs.values())


def _read_task(path: Path) -> TaskSpec:
    return check_task(load_toml(path, TaskSpec, name=path.stem, file=path), path)


def check_task(spec: TaskSpec, path: Path) -> TaskSpec:
    """Return the task if its parts fit together, its files named; raises UserError naming the file."""
    if (spec.generator is None) == (spec.columns is None):
        raise UserError(f"{path}: a task has either [generator] or [columns]; give one of them")
    if spec.columns is not None and not (spec.columns.answer or spec.columns.solution or spec.columns.alternatives):
        raise UserError(f"{path}: [columns] names none of answer, solution and alternatives; add one")
    if spec.columns is not None and not spec.gold_rule:
        raise UserError(f"{path}: a task with rows of its own needs gold_rule; add it")
    if spec.generator is not None:
        return _check_generator(spec, spec.generator, path)
    check_rule(spec.gold_rule, where=f"{path}: gold_rule: ")
    if spec.cluster_rule == "builtin":
        raise UserError(f"{path}: cluster_rule 'builtin' is a generator's, but rows are read; leave it out")
    return replace(spec, files=spec.files or (f"{spec.name}.jsonl", f"{spec.name}.parquet"))


def _check_generator(spec: TaskSpec, generator: Generator, path: Path) -> TaskSpec:
    if generator.name != "arithmetic" and not gym_datasets(generator.name):
        raise UserError(f"{path}: [generator] name is {generator.name!r}, not one of {', '.join(GENERATORS)}")
    for key in FOR_ROWS:
        if getattr(spec, key):
            raise UserError(f"{path}: {key} is for rows that are read, but [generator] makes them; remove it")
    for name in generator.options:
        if name not in gym_datasets(generator.name):
            raise UserError(f"{path}: [generator.options.{name}] belongs to no dataset of {generator.name!r}")
    return spec if spec.cluster_rule != "none" else replace(spec, cluster_rule="builtin")


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
    lines = read_text(path).split("\n") if path.exists() else []
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = _DIGEST.fullmatch(line.rstrip())
        if found and found[1] not in digests:
            digests[found[1]] = found[2]
        elif line.strip() and not line.startswith("#"):
            raise UserError(f"{path}:{number}: {line!r:.60} is not `<id> <8 hex digits>` with an id of its own")
    return digests
