"""Questions about the shape of an answer that comparing it asks: its values, its unit, its name.

Examples: `1 \\pm \\sqrt{2}` stands for two values, `x = 3, 4` for x = 3 and x = 4; `-5 \\text{ cm}` is the value -5
with a unit; `(x, y) = (1, 2)` is (1, 2) once its name is gone.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from tbrm_bench.grading.equal import sequences
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.read.tree import Tree, number, symbols, walk
from tbrm_bench.grading.read.units import NO_UNIT, Unit, contradict, multiply

_NO_VALUES = frozenset(
    [
        "text",
        "list",
        "set",
        "br",
        "rel",
        "chain",
        "union",
        "inter",
        "minus",
        "mat",
        "ratio",
        "seq",
        "ell",
        "dots",
        "mod",
    ]
)
_TRANSPOSED = (("s", "T"), ("s", "top"), ("text", "T"))


def spread(tree: Tree) -> list[Tree]:
    """Return the values that an answer stands for: the items of a list or set, both values of a plus-minus sign."""
    if tree[0] == "set" and (("c", "empty") in tree or (len(tree) == 2 and tree[1][0] == "set")):
        return [tree]  # {{}} has a member, {} has none
    if tree[0] in ("list", "set"):
        nested = ("list", "set") if tree[0] == "set" or len(tree) > 2 else ()
        return [part for item in tree[1:] for part in ([item] if item[0] in nested else spread(item))][: MAX_ITEMS + 1]
    if tree[0] == "seq" and (terms := sequences.members(tree)) is not None:
        return terms
    if tree[0] == "union" and (members := _union_members(tree)) is not None:
        return members[: MAX_ITEMS + 1]
    if tree[0] == "rel" and tree[1] in ("=", "in") and tree[3][0] in ("list", "set", "+-", "-+", "+", "*", "/"):
        values = spread(tree[3])
        return [tree] if values == [tree[3]] else [("rel", "=", tree[2], value) for value in values]
    return list(_signs(tree))


def distinct(members: Sequence[Tree]) -> list[Tree]:
    """Return the members of a set in braces, each once."""
    return list({canonical(member): member for member in members}.values())


def _union_members(tree: Tree) -> list[Tree] | None:
    """Return the members of a union of finite sets; None for any other union."""
    if tree[0] == "set":
        return list(tree[1:])
    parts = [_union_members(part) for part in tree[1:]] if tree[0] == "union" else [None]
    return None if None in parts else [member for part in parts for member in part or []]


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


def nested_rows(tree: Tree) -> Tree:
    """Return rows in brackets, [[1, 2], [3, 4]], as the matrix that they are; anything else as it is."""
    rows = tree[3:]
    if tree[0] == "br" and tree[1] == "[" and rows and all(row[0] == "br" and row[1] == "[" for row in rows):
        return ("mat", tuple(tuple(row[3:]) for row in rows))
    return tree


def without_name(tree: Tree) -> Tree:
    """Return (1, 2) for (x, y) = (1, 2) and for a point's name before its coordinates."""
    if tree[0] == "rel" and tree[1] in ("=", "in") and tree[2][0] == tree[3][0] == "br" and symbols(tree[2]):
        return tree[3]  # type: ignore[no-any-return]
    return tree


def as_shape_of(other: Tree, tree: Tree) -> Tree:
    """Return a tree in the shape that the other one has: R as the real numbers beside a set, a product as a matrix."""
    if tree == ("s", "R") and other[0] in ("br", "union", "c"):
        return ("c", "R")
    if other[0] == "mat" and tree[0] != "mat":
        if tree[:2] == ("f", "binom"):  # a column, written as a binomial
            return ("mat", ((tree[2],), (tree[3],)))
        return as_matrix(tree) or tree
    return tree


def as_matrix(tree: Tree) -> Tree | None:
    """Return a matrix times numbers, or transposed, as one matrix; None for anything else."""
    if tree[0] == "mat":
        return tree
    if tree[0] == "-":
        return _times(as_matrix(tree[1]), number(-1))
    if tree[0] == "/":
        return _times(as_matrix(tree[1]), ("/", number(1), tree[2]))
    if tree[0] == "^" and tree[2] in _TRANSPOSED and (inner := as_matrix(tree[1])) is not None:
        return ("mat", tuple(zip(*inner[1], strict=True)))
    if tree[0] == "*":
        shapes = [as_matrix(part) for part in tree[1:]]  # each once: twice a level would be 2^depth
        matrices = [shape for shape in shapes if shape is not None]
        factors = [part for part, shape in zip(tree[1:], shapes, strict=True) if shape is None]
        return _times(matrices[0], ("*", *factors)) if len(matrices) == 1 and factors else None
    return None


def _times(matrix: Tree | None, factor: Tree) -> Tree | None:
    if matrix is None or has_no_value(factor):
        return None
    return ("mat", tuple(tuple(("*", factor, cell) for cell in row) for row in matrix[1]))


def has_no_value(tree: Tree) -> bool:
    """Whether a shape inside keeps an expression from having a value: words in a product, a list in a root."""
    return any(
        part[0] in _NO_VALUES
        or (part[0] == "c" and part[1] not in ("pi", "e", "i", "inf"))
        or (part[0] == "q" and any(name not in ("angle", "percent") for name, _ in part[2][0]))
        for part in walk(tree)
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
    while value[0] == "q":  # $5 dollars, but $5 cents are no dollars
        if contradict(value[2], unit):
            unit = multiply(unit, value[2], 1)
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


def either(left: bool | None, right: bool | None) -> bool | None:
    """Return whether one of two verdicts is True; None while that is open."""
    if True in (left, right):
        return True
    return None if None in (left, right) else False
