"""Names and paths in a results repository, and the manifest that ties the files of one run together.

    {"schema": 1, "name": "tiny-quickstart-1a2b3c4d", "lock_hash": "...", "grader": "tbrm-3", "graders": ["tbrm-3"],
     "problems": {"path": "runs/tiny-.../problems.parquet", "num_rows": 12, "sha256": "..."},
     "tasks": {"arithmetic": {"num_samples": 4, "draws": ["12:9f86d081884c7d65", ...], "shards": [{...}]}}}

A draw is everything that was sampled under one sample index, as `<number of samples>:<digest>`; verdicts are not in it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from tbrm_bench.config import Place, from_table
from tbrm_bench.errors import UserError
from tbrm_bench.store.run_dir import RESULTS, RUN_JSON
from tbrm_bench.strict_json import parse_json

SCHEMA = 1
FIX = "push the run again by this version"
CARD = "README.md"
MANIFEST = "manifest.json"
PROBLEMS = "problems.parquet"
RUN_FILES = (RUN_JSON, RESULTS, MANIFEST, PROBLEMS)
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of the repository."""

    path: str
    num_rows: Annotated[int, Ge(0)]
    sha256: str


@dataclass(frozen=True, slots=True)
class TaskFiles:
    """The samples of one task: the target k, the draws that are there, and the files in order."""

    num_samples: int
    draws: tuple[str, ...]
    shards: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that belongs to one run; `grader` is the one that was used last, and the last of `graders`."""

    name: str
    lock_hash: str
    grader: str
    graders: tuple[str, ...]
    problems: DataFile
    tasks: Mapping[str, TaskFiles]

    def to_json(self) -> str:
        """Return indented JSON that ends in a newline."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


def run_name(run_dir: Path) -> str:
    """Return the name of a run in a repository: its folder's, with nothing that a path or a pattern would read."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run_dir.resolve().name).strip("-.")[:96]
    return name if SAFE_NAME.fullmatch(name) else "run"


def run_folder(name: str) -> str:
    """Return where the files of a run are, with a final slash."""
    return f"runs/{name}/"


def data_folder(task: str, name: str) -> str:
    """Return where the samples of one task of a run are, with a final slash."""
    return f"data/{task}/{name}/"


def belongs_to(path: str, name: str) -> bool:
    """Whether a file of the repository is one of the run's."""
    parts = path.split("/")
    return (parts[0] == "runs" and parts[1:2] == [name]) or (parts[0] == "data" and parts[2:3] == [name])


def runs_in(paths: Iterable[str]) -> list[str]:
    """Return the names of the runs that are whole, sorted: those with a manifest."""
    found = (re.fullmatch(rf"runs/({SAFE_NAME.pattern})/{re.escape(MANIFEST)}", path) for path in paths)
    return sorted(match[1] for match in found if match)


def read_manifest(file: Path, *, where: str) -> Manifest:
    """Read and check a manifest; raises UserError with the first thing that is wrong."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error}); {FIX}") from error
    data = parse_json(text, place=where, fix=FIX, schema=SCHEMA)
    manifest = from_table(data, Manifest, place=Place(where, fix=FIX))
    for data_file in (manifest.problems, *(shard for task in manifest.tasks.values() for shard in task.shards)):
        if not belongs_to(data_file.path, manifest.name) or ".." in data_file.path.split("/"):
            raise UserError(f"{where} names {data_file.path!r}, which is not a file of {manifest.name}; {FIX}")
    return manifest
