r"""Families: answers with constants of their own, which may have any names.

    2x^3 + C                 2x^3 + K
    C_1 \cos x + C_2 \sin x  A \cos x + B \sin x
    f(x) = cx                f(x) = kx, k \in \mathbb{R}
    x^a, a > 0               x^b, b > 0        but not x^b, nor x^b, b < 0
    2025^2 a(a-1)            not 2025^2 b(b-1): a is the problem's

A letter is a constant of the answer, and no unknown of the problem, where the answer says so (c \in \mathbb{R}, k > 0),
or where it is one by custom: behind f(x) = ..., a, b, c, d, k, C or an indexed one that is not the argument;
behind y = ..., an upper-case one or c, k, in which the right side is linear; elsewhere C, K, c, k as a term of its own
in an expression in x, y, t, and C, c, C_1, C_2 in which an expression is linear. What is said of constants must agree.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.left_sides import left_side, renamed, with_letters_of
from tbrm_bench.grading.equal.linear import linear
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import TURNED, Tree, items_of, number, symbols

MAX_CONSTANTS = 4
_OPERATORS = ("in", "notin", "<", "<=", ">", ">=", "!=")
_VARIABLES = frozenset(("x", "y", "z", "t", "u", "v", "w", "s", "r", "theta", "phi"))
_IN_FUNCTION = re.compile(r"[abcdkABCDK]|[abcdkABCDK]_\w|alpha|beta|lambda")
_BEHIND_Y = re.compile(r"[ABCDKck]|[ABCDKck]_\d")
_ADDED = re.compile(r"[CKck]|[CKck]_\d")
_OF_INTEGRATION = re.compile(r"[Cc](?:_\d)?")
_WHOLE_LETTERS = frozenset("jklmn")
_REALS: Tree = ("c", "R")
_INTEGERS: Tree = ("c", "Z")


def compare_families(comparer: Compares, golds: Sequence[Tree], pred: Tree) -> Verdict | None:
    """Compare answers with constants under other names; None where neither has any."""
    if not any(map(symbols, golds)):
        return None
    sides = [_parts([item for tree in trees for item in items_of(tree)]) for trees in (golds, (pred,))]
    (wanted, gold_conditions), (given, conditions) = sides
    if not (wanted and given):
        return None
    given = [_named(value, wanted) for value in given]
    sides[1] = (given, conditions)
    is_open = False
    for names in _renamings(sides):
        named = [renamed(item, names) for item in given]
        if not _agree(gold_conditions, [renamed(condition, names) for condition in conditions]):
            continue
        verdict = comparer.as_written(wanted, named[0] if len(named) == 1 else ("list", *named))[0]
        if verdict:
            return True, "family"
        is_open = is_open or verdict is None
    return (None, "family") if is_open else None


def _parts(items: Sequence[Tree]) -> tuple[list[Tree], list[Tree]]:
    """Return the values of an answer and what it says of their letters: p, q \\ge 0 says it of both."""
    values: list[Tree] = []
    conditions: list[Tree] = []
    waiting: list[Tree] = []
    for index, item in enumerate(items):
        subject = _subject(item)
        others = [*items[:index], *items[index + 1 :]]
        if subject is not None and any(subject in symbols(other) and _subject(other) is None for other in others):
            conditions += [_about(letter[1], item) for letter in waiting] + [item]
            waiting = []
        elif item[0] == "s" and index:
            waiting.append(item)
        else:
            values += [*waiting, item]
            waiting = []
    return values + waiting, conditions


def _subject(item: Tree) -> str | None:
    """Return the letter that a condition is about: a > 0, 0 < a < 1, a \\in \\mathbb{Z}."""
    if item[0] == "rel" and item[1] in _OPERATORS:
        side = item[2] if item[2][0] == "s" else item[3]
        return side[1] if side[0] == "s" and len(symbols(item)) == 1 else None
    if item[0] == "chain" and len(item[2]) == 3 and item[2][1][0] == "s" and len(symbols(item)) == 1:
        return item[2][1][1]  # type: ignore[no-any-return]
    return None


def _about(letter: str, condition: Tree) -> Tree:
    return renamed(condition, dict.fromkeys(symbols(condition), letter))


def _renamings(sides: Sequence[tuple[list[Tree], list[Tree]]]) -> Iterator[dict[str, str]]:
    """Yield names of the gold's constants for those of the answer; none where their numbers differ."""
    said = [{name for condition in conditions for name in symbols(condition)} for _, conditions in sides]
    constants = [own | _by_custom(values) for (values, _), own in zip(sides, said, strict=True)]
    letters = [{name for value in values for name in _letters(value)} for values, _ in sides]
    extra = [sorted(letters[0] - letters[1]), sorted(letters[1] - letters[0])]
    if any(said):
        yield {}
    is_said = bool(set(extra[0]) & said[0])
    if not set(extra[0]) <= constants[0] or not (is_said or set(extra[1]) <= constants[1]):
        return
    if len(extra[0]) == len(extra[1]) and 0 < len(extra[0]) <= MAX_CONSTANTS:
        for order in permutations(extra[0]):
            yield dict(zip(extra[1], order, strict=True))


def _named(value: Tree, golds: Sequence[Tree]) -> Tree:
    """Return a value with the left side, and the letters of its arguments, that the gold has."""
    gold = golds[0]
    if len(golds) == 1 and gold[:2] == ("rel", "=") and gold[2][0] == "s" and value[0] not in ("rel", "chain"):
        return ("rel", "=", gold[2], value)
    if value[:2] == ("rel", "="):
        for gold in golds:
            if gold[:2] == ("rel", "=") and (other := with_letters_of(gold, value)) is not value:
                return other
    return value


def _letters(value: Tree) -> set[str]:
    """Return the letters of a value, without its name."""
    is_named = value[:2] == ("rel", "=") and (value[2][0] == "br" or left_side(value[2]) is not None)
    return symbols(value[3] if is_named else value)


def _by_custom(values: Sequence[Tree]) -> set[str]:
    """Return the letters that are constants by custom in all values that have them."""
    found: set[str] = set()
    for value in values:
        names = left_side(value[2]) if value[0] == "rel" and value[1] == "=" else None
        right = value[3] if names is not None else value
        free = symbols(right)
        if names is not None and names.letters:
            found |= {name for name in free - set(names.letters) if not names.order and _IN_FUNCTION.fullmatch(name)}
        elif names is not None and names.name == "y":
            found |= {name for name in free if _BEHIND_Y.fullmatch(name) and linear(right, name) is not None}
        elif names is None or names.name not in free:
            found |= {name for name in free if _is_constant(name, right, free)}
    return found


def _is_constant(name: str, tree: Tree, free: set[str]) -> bool:
    """Whether a letter is a constant of integration: a term of its own, or one of C_1, C_2."""
    if _OF_INTEGRATION.fullmatch(name) or (re.fullmatch("[A-D]", name) and {"A", "B"} <= free):
        return linear(tree, name) is not None and bool(free & _VARIABLES) and free - _VARIABLES <= _constants_like(free)
    is_term = tree[0] == "+" and ("s", name) in tree[1:] and sum(name in symbols(term) for term in tree[1:]) == 1
    others = free - {name}
    return (
        bool(_ADDED.fullmatch(name))
        and is_term
        and bool(others & _VARIABLES)
        and (name[0].isupper() or others <= _VARIABLES)
    )


def _constants_like(free: set[str]) -> set[str]:
    return {name for name in free if _BEHIND_Y.fullmatch(name)}


def _agree(golds: Sequence[Tree], preds: Sequence[Tree]) -> bool:
    """Whether the same is said of every letter; that k, m, n are whole numbers need not be said."""
    told = [_told(conditions) for conditions in (golds, preds)]
    kinds = [
        {(_subject(one), one[3]) for one in conditions if one[:2] == ("rel", "in")} for conditions in (golds, preds)
    ]
    for left, right in (kinds, kinds[::-1]):
        if any(kind == _REALS and (name, _INTEGERS) in right for name, kind in left):
            return False  # x = k pi with real k is every number
    return told[0] == told[1]


def _told(conditions: Sequence[Tree]) -> dict[str, frozenset[Tree]]:
    """Return what is said of each letter, each thing in one form."""
    told: dict[str, set[Tree]] = {}
    for condition in conditions:
        name = _subject(condition)
        if name is not None:
            told.setdefault(name, set()).update(_in_one_form(condition))
    for name, facts in told.items():
        if _INTEGERS in facts or name in _WHOLE_LETTERS:  # of whole numbers, n > 0 is n >= 1
            strict = [fact for fact in facts if fact[0] == ">" and exact(fact[1]) is not None]
            facts.difference_update(strict)
            facts.update((">=", canonical(("+", fact[1], number(1)))) for fact in strict)
        facts.discard(_REALS)
        if name in _WHOLE_LETTERS:
            facts.discard(_INTEGERS)
    return {name: frozenset(facts) for name, facts in told.items() if facts}


def _in_one_form(condition: Tree) -> list[Tree]:
    if condition[0] == "chain":
        pairs = zip(condition[1], pairwise(condition[2]), strict=True)
        return [fact for operator, sides in pairs for fact in _in_one_form(("rel", operator, *sides))]
    _, operator, left, right = condition
    if operator == "in":
        return _of_set(right)
    if left[0] != "s":
        operator, right = TURNED.get(operator, operator), left
    return [(operator, canonical(right))]


def _of_set(tree: Tree) -> list[Tree]:
    if tree in (("c", "N"), ("c", "W")):
        return [_INTEGERS, (">=", number(int(tree[1] == "N")))]
    if tree[0] == "br" and tree[1] != "<" and len(tree) == 5:
        ends = [(">=" if tree[1] == "[" else ">", tree[3]), ("<=" if tree[2] == "]" else "<", tree[4])]
        return [(sign, canonical(end)) for sign, end in ends if ("c", "inf") not in (end, end[-1])]
    return [canonical(tree)]
