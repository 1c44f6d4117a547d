"""Rows -> Problems: ids, golds, tolerances and clusters, every one checked.

    {"id": 7, "problem": "What is 17 + 25?", "answer": "042"}
    -> Problem(ProblemKey("sums", "7"), "What is 17 + 25?", Gold(("42",), kind="integer"), cluster="7")

A name does not fix a benchmark, so the number of rows and the digest of every gold are compared with those of the task
(see `golds`); what a run was really made of is in its `rows_hash`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.golds import apply_errata, check_golds, gold_digest, raw_gold
from tbrm_bench.grading.normalize import normalize_gold
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.sources import Row, either, read_rows, row_at
from tbrm_bench.tasks import ClusterRule, Columns, Generator, TaskSpec

PREAMBLE_CHARS = 60


def load_problems(spec: TaskSpec, *, data_dir: Path | None = None) -> list[Problem]:
    """Return the task's problems in its order: generated, else from the folder if one is given, else from the Hub.

    Raises UserError for rows that are not the task's (which, and how they differ), MissingPrerequisite without network.
    """
    if spec.generator is not None:
        return _generate(spec, spec.generator)
    digests = spec.gold_digests()
    rows = read_rows(spec, data_dir)
    ids = _row_ids(spec, rows, list(digests))
    # What is wrong with one row is told before what is wrong with all of them.
    rows = apply_errata(spec, rows, ids)
    problems = [_problem(spec, row, problem_id) for row, problem_id in zip(rows, ids, strict=True)]
    _check_ids(spec, rows, ids, digests)
    check_golds(spec, rows, ids, digests)
    return assign_clusters(problems, spec.cluster_rule)


def rows_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids, questions, golds with their tolerances, and clusters; the order does not matter."""
    return _hash([*p.key, p.question, _gold_fields(p.gold), p.cluster] for p in problems)


def golds_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids and golds: equal where two sources differ in the questions' text only."""
    return _hash([*p.key, _gold_fields(p.gold)] for p in problems)


def digest_lines(spec: TaskSpec, data_dir: Path) -> list[str]:
    """Return the lines of tasks/golds/<name>.txt for the rows of a folder, errata applied: `<id> <digest>`."""
    rows = read_rows(spec, data_dir)
    ids = _own_ids(_columns(spec), rows) or [str(index) for index in range(len(rows))]
    corrected = apply_errata(spec, rows, ids)
    golds = [raw_gold(_columns(spec), row) for row in corrected]
    return [f"{name} {gold_digest(spec.name, name, gold)}" for name, gold in zip(ids, golds, strict=True)]


def assign_clusters(problems: Sequence[Problem], rule: ClusterRule) -> list[Problem]:
    """Return the problems with the cluster that the rule gives: the id of the first problem of the same group.

    `none`: each is alone. `preamble-60`: those whose questions share their first 60 characters. `builtin`: as they are.
    """
    if rule == "builtin":
        return list(problems)
    if rule == "none":
        return [replace(p, cluster=p.key.problem_id) for p in problems]
    first: dict[str, str] = {}
    for p in problems:
        first.setdefault(p.question[:PREAMBLE_CHARS], p.key.problem_id)
    return [replace(p, cluster=first[p.question[:PREAMBLE_CHARS]]) for p in problems]


def example_problem(spec: TaskSpec) -> Problem:
    """Return the task's invented example, read as its rows are."""
    assert spec.example is not None
    return _problem(spec, row_at("example", spec.example.row), "example")


def _generate(spec: TaskSpec, generator: Generator) -> list[Problem]:
    from tbrm_bench.generators import arithmetic

    problems = arithmetic.generate(num_problems=spec.num_rows, seed=generator.seed)
    return assign_clusters(problems, spec.cluster_rule)


def _columns(spec: TaskSpec) -> Columns:
    assert spec.columns is not None
    return spec.columns


def _row_ids(spec: TaskSpec, rows: Sequence[Row], known: Sequence[str]) -> list[str]:
    """Return the rows' ids; where a source has none, or other ones throughout, the task's in its order.

    The order is not taken on trust: the digest of a gold holds its id.
    """
    own = _own_ids(_columns(spec), rows)
    if not set(own).isdisjoint(known):
        return own
    surplus = [f"row {number}" for number in range(len(known) + 1, len(rows) + 1)]
    return [*known, *surplus][: len(rows)]


def _own_ids(columns: Columns, rows: Sequence[Row]) -> list[str]:
    """Return the ids that the source gives, prefixed; none if it has no column of ids, or one without values."""
    if all(row.find(columns.id) is None for row in rows):
        return []
    found = [_id_text(row.need(columns.id, "id")) for row in rows]
    return [name if name.startswith(columns.id_prefix) else columns.id_prefix + name for name in found]


def _id_text(value: Any) -> str:
    """Return an id as text; pandas makes 60.0 of 60 in a column that lacks a value."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _check_ids(spec: TaskSpec, rows: Sequence[Row], ids: Sequence[str], known: Mapping[str, str]) -> None:
    """Raise UserError for an id that stands twice, for another number of rows and for an id that is not the task's."""
    places: dict[str, str] = {}
    for row, name in zip(rows, ids, strict=True):
        if name in places:
            raise UserError(
                f"task {spec.name}: id {name!r} stands at {places[name]} and again at {row.place}; remove one of them"
            )
        places[name] = row.place
    extra, missing = [name for name in ids if name not in known], [name for name in known if name not in places]
    counts = [spec.num_rows] + ([spec.hub.num_rows] if spec.hub and spec.hub.num_rows else [])
    if len(rows) not in counts:
        raise UserError(
            f"task {spec.name}: {len(rows)} rows found, {either(map(str, counts))} expected"
            + (f"; not of the task: {_few(extra)}" if extra else f"; missing: {_few(missing)}")
        )
    if extra:
        raise UserError(
            f"task {spec.name}: {len(extra)} ids are not the task's, the first at {places[extra[0]]}: {extra[0]!r} "
            f"where {missing[0]!r} or the like is expected; use the benchmark's own rows ({spec.source})"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _problem(spec: TaskSpec, row: Row, problem_id: str) -> Problem:
    columns = _columns(spec)
    question, context = row.need(columns.question, f"question of {problem_id}"), row.text(columns.context, "context")
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"task {spec.name}: the question of {problem_id} at {row.place} is empty; mend the row")
    return Problem(
        key=ProblemKey(spec.name, problem_id),
        question=f"{context}\n\n{question}" if context else question,
        gold=_gold(spec, row, problem_id),
        cluster=problem_id,
    )


def _gold(spec: TaskSpec, row: Row, problem_id: str) -> Gold:
    columns = _columns(spec)
    raw, tolerance = raw_gold(columns, row), row.get(columns.abs_tolerance, "tolerance")
    unit = row.text(columns.unit, "unit")
    try:
        return Gold(
            answers=normalize_gold(raw, spec.gold_rule),
            kind=spec.answer_kind,
            abs_tolerance=_tolerance(tolerance) if tolerance else spec.abs_tolerance,
            rel_tolerance=spec.rel_tolerance,
            unit=unit,
        )
    except UserError as error:
        raise UserError(f"task {spec.name}: {problem_id} at {row.place}: {error}") from None


def _tolerance(text: Any) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UserError(f"the tolerance {text!r} is not a number of 0 or more; mend the row")
    return number


def _gold_fields(gold: Gold) -> list[Any]:
    return [list(gold.answers), gold.kind, gold.abs_tolerance, gold.rel_tolerance, gold.unit]


def _hash(items: Iterable[list[Any]]) -> str:
    lines = sorted(json.dumps(item, ensure_ascii=False) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
