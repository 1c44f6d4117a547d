"""Rows -> Problems: ids, errata, golds, tolerances and clusters, every one checked.

    {"id": 7, "problem": "What is 17 + 25?", "answer": "042"}
    -> Problem(ProblemKey("sums", "7"), "What is 17 + 25?", Gold(("42",), kind="integer"), cluster="7")

A name does not fix a benchmark, so the number of rows and the digest of every gold are compared with those of the task;
what a run was really made of is in its `rows_hash`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.extract import boxed_content
from tbrm_bench.grading.normalize import normalize_gold
from tbrm_bench.records import AnswerKind, Gold, Problem, ProblemKey
from tbrm_bench.sources import Row, read_rows
from tbrm_bench.tasks import ClusterRule, Columns, Erratum, TaskSpec
from tbrm_bench.tomlio import did_you_mean

PREAMBLE_CHARS = 60


def load_problems(spec: TaskSpec, *, data_dir: Path | None = None) -> list[Problem]:
    """Return the task's problems in its order: generated, else from the folder if one is given, else from the Hub.

    Raises UserError for rows that are not the task's (which, and how they differ), MissingPrerequisite without network.
    """
    if spec.generator is not None:
        return _generate(spec)
    digests = spec.gold_digests()
    rows = read_rows(spec, data_dir)
    ids = _row_ids(spec, rows, list(digests))
    _check_ids(spec, rows, ids, digests)
    rows = _apply_errata(spec, rows, ids)
    _check_golds(spec, rows, ids, digests)
    problems = [_problem(spec, row, problem_id) for row, problem_id in zip(rows, ids, strict=True)]
    return assign_clusters(problems, spec.cluster_rule)


def rows_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids, questions, golds with their tolerances, and clusters; the order does not matter."""
    return _hash([*p.key, p.question, _gold_fields(p.gold), p.cluster] for p in problems)


def golds_hash(problems: Iterable[Problem]) -> str:
    """Return one hash over ids and golds: equal where two sources differ in the questions' text only."""
    return _hash([*p.key, _gold_fields(p.gold)] for p in problems)


def gold_digest(task: str, problem_id: str, raw: Any) -> str:
    """Return 8 hex digits of the gold as its source gives it, apart from spaces, $ signs and padding of integers."""
    return hashlib.sha256("\x1f".join((task, problem_id, canonical_gold(raw))).encode()).hexdigest()[:8]


def digest_lines(spec: TaskSpec, data_dir: Path) -> list[str]:
    """Return the lines of tasks/golds/<name>.txt for the rows of a folder, errata applied: `<id> <digest>`."""
    rows = read_rows(spec, data_dir)
    ids = _row_ids(spec, rows, [str(index) for index in range(len(rows))])
    corrected = _apply_errata(spec, rows, ids)
    return [
        f"{problem_id} {gold_digest(spec.name, problem_id, _raw_gold(spec, row))}"
        for row, problem_id in zip(corrected, ids, strict=True)
    ]


def canonical_gold(raw: Any) -> str:
    """Return a gold as text that does not depend on how a file format spells it: 27.0, "27" and "$027$" are one."""
    if isinstance(raw, list | tuple):
        return ",".join(canonical_gold(part) for part in raw)
    text = re.sub(r"[\s$]+", "", str(raw))
    return str(int(text.partition(".")[0])) if re.fullmatch(r"[+-]?\d{1,1000}(\.0*)?", text) else text


def assign_clusters(problems: list[Problem], rule: ClusterRule) -> list[Problem]:
    """Return the problems with the cluster that the rule gives: the id of the first problem of the same group.

    `none`: each is alone. `preamble-60`: those whose questions share their first 60 characters. `builtin`: as they are.
    """
    if rule == "builtin":
        return problems
    if rule == "none":
        return [replace(p, cluster=p.key.problem_id) for p in problems]
    first: dict[str, str] = {}
    for p in problems:
        first.setdefault(p.question[:PREAMBLE_CHARS], p.key.problem_id)
    return [replace(p, cluster=first[p.question[:PREAMBLE_CHARS]]) for p in problems]


def example_problem(spec: TaskSpec) -> Problem:
    """Return the task's invented example, read as its rows are."""
    assert spec.example is not None
    return _problem(spec, Row("example", spec.example.row), "example")


def _generate(spec: TaskSpec) -> list[Problem]:
    from tbrm_bench.generators import arithmetic

    assert spec.generator is not None
    problems = arithmetic.generate(num_problems=spec.num_rows, seed=spec.generator.seed)
    return assign_clusters(problems, spec.cluster_rule)


def _columns(spec: TaskSpec) -> Columns:
    assert spec.columns is not None
    return spec.columns


def _row_ids(spec: TaskSpec, rows: list[Row], known: list[str]) -> list[str]:
    """Return the rows' ids; those of a source without an id column are the task's, in its order."""
    name = _find_column(rows[0], _columns(spec).id) if rows else None
    if name is not None:
        return [str(_value(row, (name,), "id")) for row in rows]
    return (known + [f"row {number}" for number in range(len(known) + 1, len(rows) + 1)])[: len(rows)]


def _check_ids(spec: TaskSpec, rows: list[Row], ids: list[str], digests: Mapping[str, str]) -> None:
    seen: dict[str, Row] = {}
    for row, problem_id in zip(rows, ids, strict=True):
        if problem_id in seen:
            raise UserError(
                f"task {spec.name}: id {problem_id!r} stands at {seen[problem_id].place} and again at {row.place}; "
                "ids must differ, remove one of the rows"
            )
        seen[problem_id] = row
    counts = {spec.num_rows} | ({spec.hub.num_rows} if spec.hub and spec.hub.num_rows else set())
    extra, missing = [i for i in ids if i not in digests], [i for i in digests if i not in seen]
    if len(rows) not in counts:
        differing = f"; {_few('too many', extra)}" if extra else f"; {_few('missing', missing)}" if missing else ""
        wanted = " or ".join(str(count) for count in sorted(counts))
        raise UserError(f"task {spec.name}: {len(rows)} rows found, {wanted} expected{differing}")
    if extra:
        hint = did_you_mean(extra[0], missing or digests) if len(missing) < 9 else f"the task's first is {missing[0]!r}"
        raise UserError(
            f"task {spec.name}: {seen[extra[0]].place} has the id {extra[0]!r}, not one of the task; {hint}"
        )


def _few(label: str, ids: list[str]) -> str:
    shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
    return f"{label}: {shown}"


def _check_golds(spec: TaskSpec, rows: list[Row], ids: list[str], digests: Mapping[str, str]) -> None:
    differing = []
    for row, problem_id in zip(rows, ids, strict=True):
        raw = _raw_gold(spec, row)
        found = gold_digest(spec.name, problem_id, raw)
        if found != digests[problem_id]:
            differing.append(
                f"gold of {problem_id} at {row.place} is {_short(raw)} (digest {found}, {digests[problem_id]} expected)"
            )
    if differing:
        more = f", and {len(differing) - 1} more rows differ" if len(differing) > 1 else ""
        raise UserError(f"task {spec.name}: {differing[0]}{more}; another version of the benchmark, or a damaged file")


def _apply_errata(spec: TaskSpec, rows: list[Row], ids: list[str]) -> list[Row]:
    errata = {erratum.id: erratum for erratum in spec.errata}
    return [
        _apply(spec, row, errata[problem_id]) if problem_id in errata else row
        for row, problem_id in zip(rows, ids, strict=True)
    ]


def _apply(spec: TaskSpec, row: Row, erratum: Erratum) -> Row:
    columns = _columns(spec)
    if erratum.field == "answer":
        name, found = _find_column(row, columns.answer), _raw_gold(spec, row)
    else:
        name, found = _find_column(row, columns.question), _value(row, columns.question, "question")
    if canonical_gold(found) == canonical_gold(erratum.new):
        return row
    if canonical_gold(found) != canonical_gold(erratum.old):
        raise UserError(
            f"task {spec.name}: {erratum.field} of {erratum.id} at {row.place} is {_short(found)}, neither "
            f"{_short(erratum.old)} nor its correction {_short(erratum.new)}; another version of the benchmark"
        )
    # A gold that stands in the solution's box gets a column of its own.
    return Row(row.place, {**row.values, name or columns.answer[0]: erratum.new})


def _problem(spec: TaskSpec, row: Row, problem_id: str) -> Problem:
    columns = _columns(spec)
    question = _value(row, columns.question, "question")
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"task {spec.name}: the question of {problem_id} at {row.place} is empty; mend the row")
    context = _optional(row, columns.context)
    return Problem(
        key=ProblemKey(spec.name, problem_id),
        question=f"{context}\n\n{question}" if context else question,
        gold=_gold(spec, row, problem_id),
        cluster=problem_id,
    )


def _gold(spec: TaskSpec, row: Row, problem_id: str) -> Gold:
    columns = _columns(spec)
    try:
        answers = normalize_gold(_raw_gold(spec, row), spec.gold_rule)
    except UserError as error:
        raise UserError(f"task {spec.name}: {problem_id} at {row.place}: {error}") from None
    tolerance = _optional(row, columns.abs_tolerance)
    return Gold(
        answers=answers,
        kind=_answer_kind(spec, row),
        abs_tolerance=_number(spec, row, tolerance) if tolerance else spec.abs_tolerance,
        rel_tolerance=spec.rel_tolerance,
        unit=str(_optional(row, columns.unit) or ""),
    )


def _raw_gold(spec: TaskSpec, row: Row) -> Any:
    columns = _columns(spec)
    name = _find_column(row, columns.answer)
    if name is None and columns.solution:
        solution = _value(row, columns.solution, "solution")
        gold: Any = boxed_content(str(solution))
        where = "closed \\boxed{} in the solution"
    else:
        gold, where = _value(row, columns.answer, "answer"), "gold"
    if gold is None or gold == [] or not str(gold).strip():
        raise UserError(f"task {spec.name}: no {where} at {row.place}; every row needs one")
    return gold


def _answer_kind(spec: TaskSpec, row: Row) -> AnswerKind:
    name = _optional(row, _columns(spec).answer_kind)
    if name is None:
        return spec.answer_kind
    if name not in spec.answer_kinds:
        raise UserError(
            f"task {spec.name}: {row.place} has the answer kind {name!r}; {did_you_mean(name, spec.answer_kinds)}"
        )
    return spec.answer_kinds[name]


def _number(spec: TaskSpec, row: Row, text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"task {spec.name}: the tolerance {text!r} at {row.place} is not a number") from None


def _find_column(row: Row, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row.values), None)


def _value(row: Row, names: tuple[str, ...], what: str) -> Any:
    name = _find_column(row, names)
    if name is None:
        found = ", ".join(row.values) or "none"
        raise UserError(f"{row.place}: no column for the {what}: expected {' or '.join(names)}, found {found}")
    return row.values[name]


def _optional(row: Row, names: tuple[str, ...]) -> Any:
    name = _find_column(row, names)
    return None if name is None else row.values[name]


def _gold_fields(gold: Gold) -> list[Any]:
    return [list(gold.answers), gold.kind, gold.abs_tolerance, gold.rel_tolerance, gold.unit]


def _hash(items: Iterable[list[Any]]) -> str:
    lines = sorted(json.dumps(item, ensure_ascii=False) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
