"""Is the answer equal to the gold? (working skeleton)"""

import dataclasses
from typing import Any, NamedTuple

from tbrm_bench.grading.latex import clean
from tbrm_bench.records import Gold


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a worker is asked."""

    request: dict[str, Any]
    symbolic: bool


class Undecided(NamedTuple):
    """The fast rules cannot tell; a worker must."""

    question: Question


def decide_fast(answer: str, gold: Gold) -> tuple[bool, str] | Undecided:
    """Return (equal, rule) or what to ask a worker."""
    pred, golds = clean(answer), [clean(value) for value in gold.answers]
    if pred.replace(" ", "") == ",".join(golds).replace(" ", ""):
        return True, "string"
    if len(golds) == 1 and _is_int(golds[0]) and _is_int(pred):
        return int(golds[0]) == int(pred), "integer"
    request = {"op": "grade", "pred": answer, "gold": dataclasses.asdict(gold)}
    return Undecided(Question(request, symbolic=True))


def _is_int(text: str) -> bool:
    return len(text) < 1000 and text.lstrip("+-").isdecimal()


def load_symbolic() -> None:
    """Import SymPy and math-verify."""
    import math_verify  # noqa: F401


def decide_fully(request: dict[str, Any]) -> tuple[bool | None, str]:
    """Decide in a worker."""
    from math_verify import parse, verify

    gold = parse("$" + ",".join(request["gold"]["answers"]) + "$", parsing_timeout=None)
    pred = parse("$" + request["pred"] + "$", parsing_timeout=None)
    return verify(gold, pred, timeout_seconds=None), "sympy"
