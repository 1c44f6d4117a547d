"""Does a task's grader accept the task's own golds, in the forms in which models write them?

A gold that its own grader rejects makes a problem unsolvable, so `tbench tasks check` runs this over every task.

Example: the gold `\\frac{3}{4}` becomes `\\boxed{\\frac{3}{4}}`, `$\\boxed{\\dfrac{3}{4}}$`,
"The final answer is $\\frac{3}{4}$. I hope it is correct." and seven more.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tbrm_bench.grading.grader import grade
from tbrm_bench.records import Gold, Grade, Status


class Failure(NamedTuple):
    """One surface form that its own gold's grader does not accept."""

    gold: Gold
    form: str
    grade: Grade


def surface_forms(gold: Gold) -> list[str]:
    """Return completions that all give the gold's own answer, at least six of them, no two alike."""
    answer = ", ".join(gold.answers)
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


def _respelt(answer: str) -> str:
    """Return the answer with other spellings of the same commands."""
    spelling = re.sub(r"\\frac(?![a-zA-Z])", r"\\dfrac", answer)
    spelling = re.sub(r"\\(?:left|right)(?=[()\[\]])", "", spelling)
    return re.sub(r"\\text\s*\{", r"\\mathrm{", spelling)
