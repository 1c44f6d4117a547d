"""Does a task's grader accept the task's own golds, in the forms in which models write them?

A gold that its own grader rejects makes a problem unsolvable, so `tbench tasks check` runs this over every task.

Example: the gold `\\frac{3}{4}` becomes `\\boxed{\\frac{3}{4}}`, `$\\boxed{\\dfrac{3}{4}}$`,
"The final answer is $\\frac{3}{4}$. I hope it is correct." and seven more.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from tbrm_bench.grading.equal.known_gold import read_gold
from tbrm_bench.grading.grader import grade
from tbrm_bench.grading.many import grade_many
from tbrm_bench.grading.model_forms import model_forms
from tbrm_bench.records import Gold, Grade, Status

_INTEGER = re.compile(r"[+-]?\d{1,300}")  # what the grader compares as digits
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_SENTENCE_END = re.compile(r"[.!](?:\s|$)|\n")


class Failure(NamedTuple):
    """One surface form that its own gold's grader does not accept."""

    gold: Gold
    form: str
    grade: Grade


def surface_forms(gold: Gold) -> list[str]:
    """Return completions that all give the gold's own answer, no two alike: at least six, or two to a scorer.

    A gold with alternatives has those of each.
    """
    return list(dict.fromkeys(form for one in gold.each() for form in _forms(one)))


def _forms(gold: Gold) -> list[str]:
    answer = ", ".join(gold.answers)
    if gold.scorer:
        return [rf"\boxed{{{answer}}}", rf"So $\boxed{{ {answer} }}$."] if gold.answers else []
    forms = [
        rf"\boxed{{{answer}}}",
        rf"$\boxed{{{answer}}}$",
        rf"\boxed{{ {answer} }}",
        rf"Thus the answer is \fbox{{\,{answer}\,}}.",
        f"The final answer is ${answer}$.",
        f"The final answer is ${answer}$. I hope it is correct.",
        f"\\[\n\\boxed{{{answer}}}\n\\]\nThis completes the solution.",
        rf"<think>Perhaps \boxed{{-17/3}}.</think> We get $$\boxed{{\displaystyle {answer}}}$$",
        rf"$\boxed{{{_respelt(answer)}}}$",
    ]
    if len(gold.answers) > 1:
        forms.append(rf"\boxed{{{', '.join(reversed(gold.answers))}}}")
        forms.append(r"$\boxed{" + r"}$ and $\boxed{".join(gold.answers) + "}$")
    scientific = re.fullmatch(r"(-?[\d.]+) \\times 10\^\{(-?\d+)\}", answer)
    if scientific:
        mantissa, exponent = scientific.groups()
        forms += [
            rf"\boxed{{{mantissa} \cdot 10^{{{exponent}}}}}",
            rf"\boxed{{{mantissa}e{exponent}}}",
            rf"\boxed{{{mantissa}E{int(exponent):+03d}}}",
            rf"\boxed{{{mantissa}\times10^{exponent}}}",
            f"The final answer is {mantissa} × 10^{exponent}",  # noqa: RUF001  # as models write it
        ]
    if re.fullmatch(r"-?\d+", answer):
        forms += [rf"\boxed{{{answer}.0}}", rf"\boxed{{{int(answer):03d}}}", f"The answer is {answer}."]
    forms += [rf"\boxed{{{form}}}" for form in model_forms(gold.answers)]
    return list(dict.fromkeys(forms))


def self_test(golds: Iterable[Gold]) -> list[Failure]:
    """Grade every gold in all its surface forms and return those that were not accepted."""
    failures = []
    for gold in golds:
        for form in surface_forms(gold):
            found = grade(form, gold)
            if found.status is not Status.CORRECT:
                failures.append(Failure(gold, form, found))
    return failures


def unearnable_golds(golds: Iterable[Gold], *, num_workers: int = 1, time_limit_s: float = 5.0) -> dict[Gold, str]:
    """Return the golds that no answer can be expected to earn, each with the reason.

    A gold is graded against itself: in a box it must be right, and the answer that its own text gives must not be
    another one, as it is where the gold is a whole solution. Far cheaper than `self_test`: 17,000 golds take seconds.
    """
    golds = [gold for gold in dict.fromkeys(golds) if gold.answers]
    asked = [gold for gold in golds if not _INTEGER.fullmatch(", ".join(gold.answers))]
    limits: Any = {"num_workers": num_workers, "time_limit_s": time_limit_s}
    boxed = grade_many(((rf"\boxed{{{', '.join(gold.answers)}}}", gold) for gold in asked), **limits)
    found = {gold: reason for gold, grade in zip(asked, boxed, strict=True) if (reason := _not_earned(gold, grade))}
    texts = [gold for gold in asked if gold not in found and gold.kind != "text" and _may_be_text(gold)]
    bare = grade_many(((", ".join(gold.answers), gold) for gold in texts), **limits)
    return found | {gold: reason for gold, grade in zip(texts, bare, strict=True) if (reason := _other(gold, grade))}


def _not_earned(gold: Gold, boxed: Grade) -> str:
    """Return why a gold is not accepted for itself; empty if it is."""
    if "####" in ", ".join(gold.answers).strip()[1:]:
        return "it is a solution; the gold rule 'gsm8k' reads what follows its '####'"
    if boxed.rule == "too_long":
        return f"its {len(', '.join(gold.answers)):,} characters are more than the grader reads"
    return "" if boxed.status is Status.CORRECT else f"put into a box it is {boxed.status} ({boxed.rule})"


def _may_be_text(gold: Gold) -> bool:
    return not gold.scorer and (read_gold(gold).trees is None or _is_prose(gold))


def _is_prose(gold: Gold) -> bool:
    text = ", ".join(gold.answers).strip()
    return len(_WORD.findall(text)) >= 3 and _SENTENCE_END.search(text) is not None


def _other(gold: Gold, bare: Grade) -> str:
    """Say which other answer the text of a gold gives; empty if it gives none."""
    if bare.status is Status.WRONG:
        return f"it is a text that gives another answer, {bare.extracted!r:.40}"
    is_lost = bare.status is Status.NO_ANSWER and read_gold(gold).trees is None and _is_prose(gold)
    return "it is a text without an answer" if is_lost else ""


def _respelt(answer: str) -> str:
    """Return the answer with other spellings of the same commands."""
    spelling = re.sub(r"\\frac(?![a-zA-Z])", r"\\dfrac", answer)
    spelling = re.sub(r"\\(?:left|right)(?=[()\[\]])", "", spelling)
    return re.sub(r"\\text\s*\{", r"\\mathrm{", spelling)
