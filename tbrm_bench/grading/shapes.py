"""Questions about the shape of an answer that comparing it asks: its values, its unit, its name.

Examples: `1 \\pm \\sqrt{2}` stands for two values, `x = 3, 4` for x = 3 and x = 4; `-5 \\text{ cm}` is the value -5
with a unit; `(x, y) = (1, 2)` is (1, 2) once its name is gone.
"""

from collections.abc import Iterator
from fractions import Fraction

from tbrm_bench.grading.exact import exact
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.tree import Tree, number, symbols, walk
from tbrm_bench.grading.units import NO_UNIT, Unit

_NO_VALUES = frozenset(("text", "list", "set", "br", "rel", "chain", "union", "inter", "minus", "mat"))


def spread(tree: Tree) -> list[Tree]:
    """Return the values that an answer stands for: the items of a list or set, both values of a plus-minus sign."""
    if tree[0] in ("list", "set"):
        return [part for item in tree[1:] for part in spread(item)][: MAX_ITEMS + 1]
    if tree[0] == "rel" and tree[1] in ("=", "in") and tree[3][0] in ("list", "set", "+-", "-+", "+", "*", "/"):
        values = spread(tree[3])
        return [tree] if values == [tree[3]] else [("rel", "=", tree[2], value) for value in values]
    return list(_signs(tree))


def _signs(tree: Tree) -> Iterator[Tree]:
    """Yield the tree with its plus-minus signs read as plus, then as minus; the tree itself if it has none."""
    if tree[0] in ("rel", "chain", "mat") or not any(part[0] in ("+-", "-+") for part in walk(tree)):
        yield tree
        return
    yield _with_sign(tree, "+-")
    yield _with_sign(tree, "-+")


def _with_sign(tree: Tree, plus: str) -> Tree:
    if tree[0] in ("+-", "-+"):
        right = _with_sign(tree[2], plus)
        return ("+", _with_sign(tree[1], plus), right if tree[0] == plus else ("-", right))
    if tree[0] == "mat":
        return tree
    return (
        tree[0],
        *(
            _with_sign(part, plus) if isinstance(part, tuple) and part and isinstance(part[0], str) else part
            for part in tree[1:]
        ),
    )


def rule_of(gold: Tree) -> str:
    """Return the rule by which two answers of this shape are the same."""
    value = exact(gold)
    if value is None:
        return {"br": "tuple", "mat": "matrix", "rel": "equation", "union": "interval", "q": "unit"}.get(
            gold[0], "same"
        )
    return "integer" if value.denominator == 1 else "rational"


def is_set_like(tree: Tree) -> bool:
    """Whether a tree can be a set of real numbers."""
    return tree[0] in ("br", "union", "inter", "minus", "set", "c")


def without_name(tree: Tree) -> Tree:
    """Return (1, 2) for (x, y) = (1, 2) and for a point's name before its coordinates."""
    if tree[0] == "rel" and tree[1] in ("=", "in") and tree[2][0] == "br" and tree[3][0] == "br":
        return tree[3]  # type: ignore[no-any-return]
    return tree


def has_no_value(tree: Tree) -> bool:
    """Whether a shape inside keeps an expression from having a value: words in a product, a list in a root."""
    return any(
        part[0] in _NO_VALUES or (part[0] == "c" and part[1] not in ("pi", "e", "i", "inf")) for part in walk(tree)
    )


def infinity(tree: Tree) -> int:
    """Return 1 or -1 for an infinity, 0 for anything else."""
    if tree == ("c", "inf"):
        return 1
    if tree == ("-", ("c", "inf")):
        return -1
    return 1 if tree == ("+", ("c", "inf")) else 0


def peel(tree: Tree) -> tuple[Tree, Unit]:
    """Return a value and its unit; a sign before the quantity belongs to the value."""
    if tree[0] == "-" and tree[1][0] == "q":
        return ("-", tree[1][1]), tree[1][2]
    if tree[0] != "q":
        return tree, NO_UNIT
    value, unit = tree[1], tree[2]
    while value[0] == "q":  # $5 dollars
        value = value[1]
    return value, unit


def scaled(tree: Tree, factor: Fraction) -> Tree:
    """Return factor * tree."""
    return tree if factor == 1 else ("*", number(factor), tree)


def is_curve(tree: Tree) -> bool:
    """Whether an equation is itself the answer, a line or a circle, so that its right side alone says nothing."""
    return tree[0] == "rel" and tree[1] == "=" and tree[2][0] == "+" and len(symbols(tree[2])) > 1


def is_implicit(tree: Tree) -> bool:
    """Whether an equation has all of a curve on its left side."""
    return is_curve(tree) and exact(tree[3]) == 0


def may_rename(gold: Tree, pred: Tree) -> bool:
    """Whether two definitions are of the same thing: one name, or a function that is called y here and f(x) there."""
    if gold[2] == pred[2]:
        return True
    is_function = any("(" in str(tree[2][1]) for tree in (gold, pred))
    return is_function and pred[2] not in walk(pred[3]) and bool(symbols(gold[3]) or "(" in str(pred[2][1]))


def either(left: bool | None, right: bool | None) -> bool | None:
    """Return whether one of two verdicts is True; None while that is open."""
    if True in (left, right):
        return True
    return None if None in (left, right) else False
