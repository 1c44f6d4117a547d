"""Why this verdict? Its steps, for a person.

found      \\frac{2}{4}, in the last box
answer     read as 2/4
gold       0.5, read as 1/2
compared   rational, by the fast rules: equal
"""

from dataclasses import dataclass

from tbrm_bench.grading.equal.decide import decide
from tbrm_bench.grading.equal.equivalence import Undecided
from tbrm_bench.grading.find.extract import Extraction, extract
from tbrm_bench.grading.grader import grade
from tbrm_bench.grading.grader_names import options
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.readable import readable
from tbrm_bench.grading.workers.scored import plain
from tbrm_bench.records import DEFAULT_POLICY, FinishReason, Gold, Grade, GradingPolicy, Status

MAX_FORM_CHARS = 500
MAX_SHOWN_CHARS = 200
SOURCES = {
    "boxed": "in the last box",
    "final_answer": "after the last 'final answer is'",
    "fallback": "after 'the answer is', or where the text ends: it has no box",
    "unterminated_box": "nothing closes the last box",
    "empty_box": "the last box is empty",
    "inside_think": "the text ends inside a thought",
    "none": "the text gives no answer",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict and what led to it.

    `source` is the step of extraction that found the answer, or found that there is none. The forms are how both sides
    were read, one line each, several readings joined by " or "; "" is unreadable. `steps` tells it in words.
    """

    grade: Grade
    source: str
    answer_form: str
    gold_form: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        """Return the steps, one per line."""
        return "\n".join(self.steps)


def explain(
    prediction: str,
    gold: Gold | str,
    *,
    finish_reason: FinishReason = "stop",
    strict_boxed: bool = False,
    policy: GradingPolicy = DEFAULT_POLICY,
) -> Explanation:
    """Grade one completion as `grade` does, and report what was found, how both sides were read and what decided."""
    gold = Gold((gold,)) if isinstance(gold, str) else gold
    found = extract(prediction, finish_reason=finish_reason, strict_boxed=strict_boxed)
    verdict = grade(prediction, gold, finish_reason=finish_reason, strict_boxed=strict_boxed, policy=policy)
    return explain_grade(verdict, found, gold, policy)


def explain_grade(verdict: Grade, found: Extraction, gold: Gold, policy: GradingPolicy = DEFAULT_POLICY) -> Explanation:
    """Explain a verdict that is already known."""
    answer_form = form_of(found.answer or "")
    gold_form = form_of_gold(gold)
    if gold.scorer:
        answer_form, gold_form = _short(plain(found.answer or "")), _short(" and ".join(gold.answers))
    steps = (
        f"found     {_found(found)}",
        *((f"answer    {_read(answer_form)}",) if found.answer is not None else ()),
        f"gold      {_short(text_of_gold(gold))}, {_read(gold_form)}{_extras(gold)}",
        *((f"policy    {', '.join(changed)}",) if (changed := options(strict_boxed=False, policy=policy)) else ()),
        *((f"compared  {_compared(verdict, found.answer, gold, policy)}",) if found.answer is not None else ()),
        f"verdict   {verdict.status}",
    )
    return Explanation(verdict, found.source, answer_form, gold_form, steps)


def form_of(answer: str) -> str:
    """Return how an answer is read, in plain text; "" if it cannot be read."""
    trees = readings(clean(answer)) if answer and len(answer) <= MAX_ANSWER_CHARS else []
    return _short(" or ".join(readable(tree) for tree in trees), MAX_FORM_CHARS)


def form_of_gold(gold: Gold) -> str:
    """Return how a gold is read: what is wanted together joined by commas, alternatives by "; or "."""
    return "; or ".join(", ".join(map(form_of, one.answers)) for one in gold.each())


def text_of_gold(gold: Gold) -> str:
    """Return a gold as it is given, for a person."""
    return "; or ".join(" and ".join(one.answers) for one in gold.each())


def _found(found: Extraction) -> str:
    told = SOURCES.get(found.source, found.source)
    return f"nothing: {told}" if found.answer is None else f"{_short(found.answer)}, {told}"


def _read(form: str) -> str:
    return f"read as {form}" if form else "not read as mathematics"


def _extras(gold: Gold) -> str:
    extras = {
        "kind": gold.kind if gold.kind != "auto" else "",
        "unit": gold.unit,
        "absolute tolerance": gold.abs_tolerance,
        "relative tolerance": gold.rel_tolerance,
    }
    return "".join(f"; {name} {value}" for name, value in extras.items() if value)


def _compared(verdict: Grade, answer: str, gold: Gold, policy: GradingPolicy) -> str:
    if gold.scorer:
        return f"{verdict.status} by the problem's own scorer, rule '{verdict.rule}'"
    where = "in a worker" if isinstance(decide(answer, gold, policy), Undecided) else "by the fast rules"
    outcome = {Status.CORRECT: "equal", Status.WRONG: "not equal"}.get(verdict.status, "undecided")
    return f"{outcome} by the rule '{verdict.rule}', {where}"


def _short(text: str, limit: int = MAX_SHOWN_CHARS) -> str:
    """Return a text as one line that any terminal can show: cut, spaces joined, what is not printable escaped."""
    text = " ".join(text[: 2 * limit].split())
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
