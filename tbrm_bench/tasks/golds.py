"""Row -> raw gold -> gold: found, corrected by errata, normalised, and compared with the digests of the task.

    {"answer": "042"}                        -> "042" -> Gold(("42",))      the answer column
    {"solution": "so it is \\boxed{42}."}    -> "42"  -> Gold(("42",))      else the last box of the solution

The project holds no benchmark text, so what a gold should be is known by its digest alone:
`golds/<task>.txt` beside the task's file, a line `<id> <8 hex digits>` per problem.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.find.extract import boxed_content
from tbrm_bench.grading.normalize import normalize_gold
from tbrm_bench.missing import present
from tbrm_bench.records import Gold
from tbrm_bench.tasks.rows import Row
from tbrm_bench.tasks.spec import Columns, ErratumField, TaskSpec


def raw_gold(columns: Columns, row: Row) -> Any:
    """Return the gold as the source gives it; raises UserError if the row has none."""
    if not (columns.answer or columns.solution):
        return _alternatives(columns, row)[0]
    gold = present(row.need((*columns.answer, *columns.solution), "answer"))
    what = "answer"
    if row.find(columns.answer) is None:
        gold, what = boxed_content(str(gold)), r"closed \boxed{} in the solution"
    if gold is None or not canonical_gold(gold):
        raise UserError(f"{row.place}: no {what}; every row needs one")
    return gold


def raw_alternatives(columns: Columns, row: Row) -> list[Any]:
    """Return the further golds that the source gives, each as `raw_gold` might; raises UserError for an empty one."""
    if row.find(columns.alternatives) is None:
        return []
    found = _alternatives(columns, row)
    return found if columns.answer or columns.solution else found[1:]


def _alternatives(columns: Columns, row: Row) -> list[Any]:
    value = present(row.need(columns.alternatives, "answer"))
    found = [present(one) for one in (value if isinstance(value, list) else [value])]
    if not all(one is not None and canonical_gold(one) for one in found):
        raise UserError(f"{row.place}: one of the alternatives is empty; fix the row")
    return found


def corrected(spec: TaskSpec, row: Row, problem_id: str, field: ErratumField, found: Any) -> Any:
    """Return a question or a raw gold with the task's corrections.

    A value that is the old one is replaced, one that is corrected already is left alone, and any other raises
    UserError: then the erratum was written for another version of the row. Of a correction in `part` only that is
    replaced, wherever it is.
    """
    for erratum in spec.errata:
        if (erratum.id, erratum.field) != (problem_id, field):
            continue
        if erratum.part:
            found = found.replace(erratum.old, erratum.new) if isinstance(found, str) else found
        elif canonical_gold(found) == canonical_gold(erratum.old):
            found = erratum.new
        elif canonical_gold(found) != canonical_gold(erratum.new):
            raise UserError(
                f"task {spec.name}: {field} of {problem_id} at {row.place} is {_short(found)}, neither "
                f"{_short(erratum.old)} nor its correction {_short(erratum.new)}; {own_rows(spec)}"
            )
    return found


def gold_of(
    spec: TaskSpec,
    raw: Any,
    *,
    abs_tolerance: float | None = None,
    unit: str = "",
    alternatives: Sequence[Any] = (),
) -> Gold:
    """Return a raw gold as the task's grader reads it; raises UserError for what its rule cannot read."""
    answers = normalize_gold(raw, spec.gold_rule)
    return Gold(
        answers=answers,
        alternatives=distinct(answers, [normalize_gold(one, spec.gold_rule) for one in alternatives]),
        kind=spec.answer_kind,
        abs_tolerance=spec.abs_tolerance if abs_tolerance is None else abs_tolerance,
        rel_tolerance=spec.rel_tolerance,
        unit=unit,
    )


def distinct(answers: tuple[str, ...], alternatives: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the alternatives, each once, without the one that the gold itself is."""
    return tuple(one for one in dict.fromkeys(alternatives) if one != answers)


def canonical_gold(raw: Any) -> str:
    """Return a gold as text that does not depend on how a file spells it: 27.0, "27" and "$027$" are one."""
    if isinstance(raw, list | tuple):
        return ",".join(canonical_gold(part) for part in raw)
    text = re.sub(r"[\s$]+", "", str(raw))
    return str(int(text.partition(".")[0])) if re.fullmatch(r"[+-]?\d{1,1000}(\.0*)?", text) else text


def gold_digest(task: str, problem_id: str, raw: Any, alternatives: Sequence[Any] = ()) -> str:
    """Return 8 hex digits that tell a problem's canonical gold, alternatives in their order, from any other."""
    parts = (task, problem_id, canonical_gold(raw), *map(canonical_gold, alternatives))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]


def difference(
    spec: TaskSpec, row: Row, problem_id: str, raw: Any, expected: str, alternatives: Sequence[Any] = ()
) -> str:
    """Return how a raw gold differs from the one of this digest; empty if it does not."""
    found = gold_digest(spec.name, problem_id, raw, alternatives)
    others = f" or {', '.join(map(_short, alternatives))}" if alternatives else ""
    shown = f"gold of {problem_id} at {row.place} is {_short(raw)}{others} (digest {found}, not {expected})"
    return "" if found == expected else shown


def own_rows(spec: TaskSpec) -> str:
    """Return the way out where rows are not the task's."""
    return "use the benchmark's own rows" + (f" ({spec.source})" if spec.source else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
