"""Where rows come from: a local folder of JSONL or Parquet files, or the Hugging Face Hub. Rows stay as they are.

A row has its position, which messages name: `aime24.jsonl:7`, or `math-ai/aime25[test]:7`. Positions count
from 1. A value that is null or NaN is missing (see `missing`): None here, and no different from an absent column.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.missing import nan_to_none, present, spells_missing
from tbrm_bench.strict_json import unique_keys
from tbrm_bench.tasks.spec import HubSource, TaskSpec


class Row(NamedTuple):
    """One row of a source: its columns, and its position."""

    place: str
    values: Mapping[str, Any]

    def find(self, names: tuple[str, ...]) -> str | None:
        """Return the first of the names that is a column with a value."""
        return next((name for name in names if self.values.get(name) is not None), None)

    def get(self, names: tuple[str, ...], what: str) -> Any:
        """Return the value of the first column that has one; None if none has.

        Raises UserError for the text of a missing value, `nan`: it may be meant, but more likely is a mistake.
        """
        name = self.find(names)
        value = None if name is None else self.values[name]
        if spells_missing(value):
            raise UserError(
                f"the {what} {value!r} at {self.place} (column {name!r}) is how a missing value is written as text; "
                "leave the value out, or write null"
            )
        return value

    def text(self, names: tuple[str, ...], what: str) -> str:
        """Return the text that `get` finds, empty if there is none; raises UserError for what is not text."""
        value = present(self.get(names, what))
        if value is not None and not isinstance(value, str):
            raise UserError(f"{self.place}: the {what} is {value!r:.60}, not text; fix the row")
        return value or ""

    def need(self, names: tuple[str, ...], what: str) -> Any:
        """Return the value of the first column that has one; raises UserError if none has."""
        value = self.get(names, what)
        if value is not None:
            return value
        empty = [name for name in names if name in self.values]
        if empty:
            raise UserError(f"{self.place}: no {what}: {either(empty)} is empty (null or NaN); fix the row")
        found = ", ".join(self.values) or "none"
        raise UserError(f"{self.place}: no column for the {what}: {either(names)} expected, found: {found}")


def read_rows(spec: TaskSpec, data_dir: Path | None) -> list[Row]:
    """Return all rows: of the folder if it holds them, else from beside the task's own file, else of the Hub.

    With a folder nothing is fetched. Raises UserError for a file that is missing or corrupt, MissingPrerequisite when
    the Hub cannot be reached.
    """
    return [row_at(place, values) for place, values in _read(spec, data_dir)]


def row_at(place: str, values: Mapping[str, Any]) -> Row:
    """Return a row, None instead of every NaN."""
    return Row(place, nan_to_none(dict(values)))


def _read(spec: TaskSpec, data_dir: Path | None) -> Iterable[Row]:
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data {data_dir} is not a folder; give the folder that holds {either(spec.files)}")
    beside = None if spec.file is None else spec.file.parent
    for folder in (data_dir, beside):
        if folder is not None and (file := _find_file(spec, folder)) is not None:
            return _read_file(file)
    if data_dir is not None:
        there = ", ".join(sorted(entry.name for entry in data_dir.iterdir())[:8]) or "nothing"
        raise UserError(f"task {spec.name}: {data_dir} holds no {either(spec.files)} (found: {there}); add it")
    if spec.hub is None:
        missing = f"no {either(spec.files)} beside {spec.file}, and it" if beside else "it"
        raise MissingPrerequisite(
            f"task {spec.name}: {missing} is not on the Hub; give a folder that holds {either(spec.files)} with --data"
        )
    return _read_hub(spec, spec.hub)


def _find_file(spec: TaskSpec, folder: Path) -> Path | None:
    found = [folder / name for name in spec.files if (folder / name).is_file()]
    if len(found) > 1:
        raise UserError(
            f"{folder} holds both {found[0].name} and {found[1].name} for task {spec.name}; keep one of them"
        )
    return found[0] if found else None


def _read_file(path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        # Not splitlines(): JSON may hold U+2028 and other line ends inside its strings.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield Row(f"{path.name}:{number}", _parse_line(line, f"{path}:{number}"))


def _parse_line(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=unique_keys)
        if "\\u" in line:  # half of a surrogate pair, which nothing later could write or tokenize
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not a JSON object ({error}); fix the file or fetch it again") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: a JSON {type(row).__name__} where an object is expected; write one row per line")
    return row


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet: {_one_line(error)}") from None
    for number, row in enumerate(rows, start=1):
        yield Row(f"{path.name}:{number}", row)


def _read_hub(spec: TaskSpec, hub: HubSource) -> Iterable[Row]:
    import datasets

    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)  # it logs each retry; what matters is reported below, once
    try:
        rows = datasets.load_dataset(hub.repo, hub.config, split=hub.split, revision=hub.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise MissingPrerequisite(
            f"task {spec.name}: cannot get {hub.repo} at {hub.revision[:12]} from the Hub ({_one_line(error)}); "
            f"offline, put {either(spec.files)} into a folder and give it with --data DIR"
        ) from None
    finally:
        client.setLevel(level)
    return (Row(f"{hub.repo}[{hub.split}]:{number}", dict(row)) for number, row in enumerate(rows, start=1))


def either(names: Iterable[str]) -> str:
    """Return the names as alternatives: a or b."""
    return " or ".join(names)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
