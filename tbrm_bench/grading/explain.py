"""Why was it judged so? The steps of a verdict, for a person.

answer \\frac{2}{4} by boxed; read as (/ 2 4); gold 0.5 read as 1/2; equal by rational
"""

from dataclasses import dataclass
from fractions import Fraction

from tbrm_bench.grading.extract import extract
from tbrm_bench.grading.grader import grade
from tbrm_bench.grading.latex import clean
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.grading.parse import readings
from tbrm_bench.grading.tree import Tree
from tbrm_bench.records import FinishReason, Gold, Grade

MAX_FORM_CHARS = 500


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict and what led to it: the step that found the answer, and how both sides were read ("" if unreadable)."""

    grade: Grade
    source: str
    answer_form: str
    gold_form: str


def explain(
    prediction: str, gold: Gold | str, *, finish_reason: FinishReason = "stop", strict_boxed: bool = False
) -> Explanation:
    """Grade one completion as `grade` does, and tell what was found, how both sides were read and what decided."""
    gold = Gold((gold,)) if isinstance(gold, str) else gold
    found = extract(prediction, finish_reason=finish_reason, strict_boxed=strict_boxed)
    return Explanation(
        grade=grade(prediction, gold, finish_reason=finish_reason, strict_boxed=strict_boxed),
        source=found.source,
        answer_form=form_of(found.answer or ""),
        gold_form=", ".join(form_of(answer) for answer in gold.answers),
    )


def form_of(answer: str) -> str:
    """Return how an answer is read, as nested lists with the operator first; "" if it cannot be read."""
    trees = readings(clean(answer)) if answer and len(answer) <= MAX_ANSWER_CHARS else []
    text = " or ".join(_show(tree) for tree in trees)
    return text if len(text) <= MAX_FORM_CHARS else text[: MAX_FORM_CHARS - 3] + "..."


def _show(part: object) -> str:
    if isinstance(part, Fraction):
        return str(part)
    if not isinstance(part, tuple):
        return str(part)
    tree: Tree = part
    if len(tree) == 2 and tree[0] in ("n", "s", "c"):
        return _show(tree[1])
    return f"({' '.join(_show(inner) for inner in tree)})"
