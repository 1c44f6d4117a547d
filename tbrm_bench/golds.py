"""Golds as their sources give them: found, corrected by errata, and compared with the digests of the task.

    {"answer": "042"}                        -> "042"      the answer column
    {"solution": "so it is \\boxed{42}."}    -> "42"       else the last box of the solution

The project holds no benchmark text, so what a gold should be is known by its digest alone:
`tasks/golds/<task>.txt`, a line `<id> <8 hex digits>` a problem.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.extract import boxed_content
from tbrm_bench.missing import present
from tbrm_bench.sources import Row
from tbrm_bench.tasks import Columns, Erratum, TaskSpec


def raw_gold(columns: Columns, row: Row) -> Any:
    """Return the gold as the source gives it; raises UserError if the row has none."""
    gold = present(row.need((*columns.answer, *columns.solution), "answer"))
    what = "answer"
    if row.find(columns.answer) is None:
        gold, what = boxed_content(str(gold)), r"closed \boxed{} in the solution"
    if gold is None or not canonical_gold(gold):
        raise UserError(f"{row.place}: there is no {what}; every row needs one")
    return gold


def canonical_gold(raw: Any) -> str:
    """Return a gold as text that does not depend on how a file spells it: 27.0, "27" and "$027$" are one."""
    if isinstance(raw, list | tuple):
        return ",".join(canonical_gold(part) for part in raw)
    text = re.sub(r"[\s$]+", "", str(raw))
    return str(int(text.partition(".")[0])) if re.fullmatch(r"[+-]?\d{1,1000}(\.0*)?", text) else text


def gold_digest(task: str, problem_id: str, raw: Any) -> str:
    """Return 8 hex digits that tell a problem's canonical gold from any other."""
    return hashlib.sha256("\x1f".join((task, problem_id, canonical_gold(raw))).encode()).hexdigest()[:8]


def check_golds(spec: TaskSpec, rows: Sequence[Row], ids: Sequence[str], digests: Mapping[str, str]) -> None:
    """Raise UserError naming the first row whose gold is not the task's, and how many there are."""
    assert spec.columns is not None
    differing = []
    for row, problem_id in zip(rows, ids, strict=True):
        raw = raw_gold(spec.columns, row)
        found = gold_digest(spec.name, problem_id, raw)
        if found != digests[problem_id]:
            expected = digests[problem_id]
            differing.append(f"gold of {problem_id} at {row.place} is {_short(raw)} (digest {found}, not {expected})")
    if differing:
        more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
        raise UserError(f"task {spec.name}: {differing[0]}{more}; use the benchmark's own rows ({spec.source})")


def apply_errata(spec: TaskSpec, rows: Sequence[Row], ids: Sequence[str]) -> list[Row]:
    """Return the rows with the task's corrections.

    A value that is the old one is replaced, one that is corrected already is left alone, and any other raises
    UserError: then the erratum was written for another version of the row.
    """
    errata: dict[str, list[Erratum]] = {}
    for erratum in spec.errata:
        errata.setdefault(erratum.id, []).append(erratum)
    corrected = []
    for row, problem_id in zip(rows, ids, strict=True):
        for erratum in errata.get(problem_id, ()):
            row = _apply(spec, row, erratum)
        corrected.append(row)
    return corrected


def _apply(spec: TaskSpec, row: Row, erratum: Erratum) -> Row:
    assert spec.columns is not None
    if erratum.field == "answer":
        names, found = spec.columns.answer, raw_gold(spec.columns, row)
    else:
        names, found = spec.columns.question, row.need(spec.columns.question, "question")
    if canonical_gold(found) == canonical_gold(erratum.old):
        # A gold that stood in the solution's box gets a column of its own.
        return Row(row.place, {**row.values, row.find(names) or names[0]: erratum.new})
    if canonical_gold(found) == canonical_gold(erratum.new):
        return row
    raise UserError(
        f"task {spec.name}: {erratum.field} of {erratum.id} at {row.place} is {_short(found)}, neither "
        f"{_short(erratum.old)} nor its correction {_short(erratum.new)}; use the benchmark's own rows ({spec.source})"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
