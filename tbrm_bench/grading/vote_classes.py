"""Classes of equal answers, for maj@k: the same mathematics as grading, made an equivalence relation.

Without a gold nothing can be left to the question, so the policies about missing parts are off: 50 % is 1/2 and not 50.
An answer is first brought to one form (its value without "x =", its items in any order); equal forms share a class, and
of different forms `numeric` decides against one representative of each class, so that classes never overlap. Units are
put aside, unless the answers of one class disagree about them: then 5 cm and 5 m part, and a bare 5 stays alone.

Example: ["1/2", "0.5", "50\\\\%", "x = \\\\frac12", "2"] has the classes [0, 0, 0, 0, 1].
"""

from collections.abc import Callable, Sequence

from tbrm_bench.grading.equal.comparing import GoldPolicy
from tbrm_bench.grading.equal.equivalence import Answer, Question
from tbrm_bench.grading.equal.shapes import peel, spread
from tbrm_bench.grading.equal.structure import Comparer
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.grading.numbers.exact import canonical
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree, symbols
from tbrm_bench.grading.read.units import NO_UNIT, PERCENT, Unit
from tbrm_bench.grading.read.words import bare, choice

STRICT = Comparer(GoldPolicy(missing_unit=False, missing_percent=False, missing_base=False), precise=False)
Ask = Callable[[Question], Answer]


def classify(answers: Sequence[str], ask: Ask) -> list[int]:
    """Return the class of each answer, numbered from 0 in order of appearance; `ask` reaches a worker."""
    forms = [_form(answer) for answer in answers]
    labels: dict[Tree, int] = {}
    heads: list[tuple[Tree, str]] = []
    for (form, _), answer in zip(forms, answers, strict=True):
        if form in labels:
            continue
        same = (label for label, (head, text) in enumerate(heads) if _equal(head, text, form, answer, ask))
        labels[form] = next(same, len(heads))
        if labels[form] == len(heads):
            heads.append((form, answer))
    return _numbered(_with_units([labels[form] for form, _ in forms], [unit for _, unit in forms]))


def _form(answer: str) -> tuple[Tree, Unit]:
    """Return one form for an answer, and the unit that was taken from it."""
    cleaned = clean(answer) if len(answer) <= MAX_ANSWER_CHARS else answer
    letter = choice(cleaned, with_text=True)
    trees = readings(cleaned)
    if letter is not None and (not trees or trees[0][0] == "text" or not cleaned.islower()):
        return ("text", letter.lower()), NO_UNIT
    if not trees or trees[0][0] == "text":
        return ("text", bare(cleaned) or cleaned), NO_UNIT
    items = sorted({canonical(_value(item)) for item in spread(trees[0])}, key=repr)
    if len(items) > 1:
        return ("list", *items), NO_UNIT
    value, unit = peel(items[0])
    return (items[0], NO_UNIT) if unit == PERCENT else (value, unit)


def _value(tree: Tree) -> Tree:
    """Return the right side of "x = 5"; relations of any other kind stand for themselves."""
    if (
        tree[0] == "rel"
        and tree[1] in ("=", "in", "approx")
        and tree[2][0] == "s"
        and tree[2][1] not in symbols(tree[3])
    ):
        return tree[3]  # type: ignore[no-any-return]
    return tree


def _equal(head: Tree, head_text: str, form: Tree, text: str, ask: Ask) -> bool:
    if "text" in (head[0], form[0]):
        return head == form
    verdict, _ = STRICT.answers(spread(head), form)
    if verdict is None:
        verdict = ask(Question({"op": "equal", "left": head_text, "right": text}, symbolic=False)).verdict
    return verdict is True


def equal_in_worker(left: str, right: str) -> tuple[bool | None, str]:
    """Answer the question of `_equal` with high precision."""
    forms = [_form(left)[0], _form(right)[0]]
    return Comparer(STRICT.policy, precise=True).answers(spread(forms[0]), forms[1])


def _with_units(labels: Sequence[int], units: Sequence[Unit]) -> list[tuple[int, Unit]]:
    """Add the unit to the label of a class whose answers carry two different units."""
    seen: dict[int, set[Unit]] = {}
    for label, unit in zip(labels, units, strict=True):
        seen.setdefault(label, set()).add(unit)
    return [
        (label, unit if len(seen[label] - {NO_UNIT}) > 1 else NO_UNIT)
        for label, unit in zip(labels, units, strict=True)
    ]


def _numbered(keys: Sequence[tuple[int, Unit]]) -> list[int]:
    numbers: dict[tuple[int, Unit], int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]
