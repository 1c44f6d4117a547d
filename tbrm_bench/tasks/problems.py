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
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.tasks.golds import corrected, difference, gold_digest, gold_of, own_rows, raw_gold
from tbrm_bench.tasks.rows import Row, either, read_rows, row_at
from tbrm_bench.tasks.spec import ClusterRule, Columns, TaskSpec

PREAMBLE_CHARS = 60


def load_problems(spec: TaskSpec, *, data_dir: Path | None = None) -> list[Problem]:
    """Return the task's problems in its order: generated, or read from where `read_rows` finds the rows.

    Raises UserError for rows that are not the task's (which, and how they differ), MissingPrerequisite without network.
    """
    if spec.generator is not None:
        return assign_clusters(_generate(spec), spec.cluster_rule)
    digests = spec.gold_digests()
    rows = read_rows(spec, data_dir)
    ids = _row_ids(spec, rows, list(digests))
    problems, differing = [], []
    for row, problem_id in zip(rows, ids, strict=True):
        problem, raw = _problem(spec, row, problem_id)
        problems.append(problem)
        if problem_id in digests:
            differing.append(difference(spec, row, problem_id, raw, digests[problem_id]))
    # What is wrong with one row is reported before what is wrong with all of them.
    _check_ids(spec, rows, ids, digests)
    _refuse_others(spec, [text for text in differing if text])
    return assign_clusters(problems, spec.cluster_rule)


def rows_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids, questions, golds with their tolerances, and clusters; the order does not matter."""
    return _hash([*p.key, p.question, _gold_fields(p.gold), p.cluster] for p in problems)


def golds_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids and golds: equal where two sources differ in the questions' text only."""
    return _hash([*p.key, _gold_fields(p.gold)] for p in problems)


def digest_lines(spec: TaskSpec, data_dir: Path | None = None) -> list[str]:
    """Return the lines of golds/<name>.txt for the rows at hand, errata applied: `<id> <digest>`.

    Raises UserError for a task that generates its rows, and for rows that are no problems.
    """
    if spec.columns is None:
        raise UserError(f"task {spec.name} makes its rows, the same ones everywhere; it needs no digests")
    rows = read_rows(spec, data_dir)
    ids = _row_ids(spec, rows, ())
    _check_ids(spec, rows, ids, {})
    golds = [_problem(spec, row, problem_id)[1] for row, problem_id in zip(rows, ids, strict=True)]
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
    return _problem(spec, row_at("example", spec.example.row), "example")[0]


def _generate(spec: TaskSpec) -> list[Problem]:
    from tbrm_bench.tasks.generators import arithmetic, gym

    generator = spec.generator
    assert generator is not None
    if generator.name == "arithmetic":
        return arithmetic.generate(num_problems=spec.num_rows, seed=generator.seed)
    options = generator.options
    return gym.scored_problems(spec.name, generator.name, options, count=spec.num_rows, seed=generator.seed)


def _columns(spec: TaskSpec) -> Columns:
    assert spec.columns is not None
    return spec.columns


def _row_ids(spec: TaskSpec, rows: Sequence[Row], known: Sequence[str]) -> list[str]:
    """Return the rows' ids; where a source has none, or other ones throughout, the task's in its order.

    The order is not taken on trust: the digest of a gold holds its id. Rows without ids of a task whose ids are not
    known are numbered from 0.
    """
    own = _own_ids(_columns(spec), rows)
    if not set(own).isdisjoint(known) or (own and not known):
        return own
    surplus = [f"row {number}" for number in range(len(known) + 1, len(rows) + 1)]
    return [*known, *surplus][: len(rows)] if known else [str(number) for number in range(len(rows))]


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
    """Raise UserError for an id that occurs twice, for another number of rows and for an id that is not the task's.

    Without `known` ids, any are the task's.
    """
    places: dict[str, str] = {}
    for row, name in zip(rows, ids, strict=True):
        if name in places:
            raise UserError(
                f"task {spec.name}: id {name!r} is at {places[name]} and again at {row.place}; remove one of them"
            )
        places[name] = row.place
    extra = [name for name in ids if known and name not in known]
    missing = [name for name in known if name not in places]
    counts = [spec.num_rows] + ([spec.hub.num_rows] if spec.hub and spec.hub.num_rows else [])
    if len(rows) not in counts:
        raise UserError(
            f"task {spec.name}: {len(rows)} rows found, {either(map(str, counts))} expected"
            + (f"; not of the task: {_few(extra)}" if extra else f"; missing: {_few(missing)}" if missing else "")
        )
    if extra:
        raise UserError(
            f"task {spec.name}: {len(extra)} ids are not the task's, the first at {places[extra[0]]}: {extra[0]!r} "
            f"where {missing[0]!r} or the like is expected; {own_rows(spec)}"
        )


def _refuse_others(spec: TaskSpec, differing: Sequence[str]) -> None:
    """Raise UserError naming the first row whose gold is not the task's, and how many there are."""
    if differing:
        more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
        raise UserError(f"task {spec.name}: {differing[0]}{more}; {own_rows(spec)}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _problem(spec: TaskSpec, row: Row, problem_id: str) -> tuple[Problem, Any]:
    """Return the problem of a row, and its raw gold, errata applied, which digests are made of."""
    columns = _columns(spec)
    raw = corrected(spec, row, problem_id, "answer", raw_gold(columns, row))
    question, context = row.need(columns.question, f"question of {problem_id}"), row.text(columns.context, "context")
    question = corrected(spec, row, problem_id, "question", question)
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"task {spec.name}: the question of {problem_id} at {row.place} is empty; fix the row")
    problem = Problem(
        key=ProblemKey(spec.name, problem_id),
        question=f"{context}\n\n{question}" if context else question,
        gold=_gold(spec, row, problem_id, raw),
        cluster=problem_id,
    )
    return problem, raw


def _gold(spec: TaskSpec, row: Row, problem_id: str, raw: Any) -> Gold:
    columns = _columns(spec)
    tolerance, unit = row.get(columns.abs_tolerance, "tolerance"), row.text(columns.unit, "unit")
    try:
        return gold_of(spec, raw, abs_tolerance=_tolerance(tolerance), unit=unit)
    except UserError as error:
        raise UserError(f"task {spec.name}: {problem_id} at {row.place}: {error}") from None


def _tolerance(text: Any) -> float | None:
    """Return a row's own tolerance, 0 included; None where it has none and the task's counts."""
    if text is None or text == "":
        return None
    try:
        number = float("true or false" if isinstance(text, bool) else text)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UserError(f"the tolerance {text!r} is not a number of 0 or more; fix the row")
    return number


def _gold_fields(gold: Gold) -> list[Any]:
    fields = [list(gold.answers), gold.kind, gold.abs_tolerance, gold.rel_tolerance, gold.unit]
    return [*fields, gold.scorer] if gold.scorer else fields


def _hash(items: Iterable[list[Any]]) -> str:
    lines = sorted(json.dumps(item, ensure_ascii=False) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
