"""What the reader made of an answer, written for a person: one line of plain text, with no more brackets than needed.

    ("*", ("n", 2), ("root", ("n", 3), ("n", 2)))        2*sqrt(3)
    ("br", "(", "]", ("-", ("c", "inf")), ("n", 1/2))    (-inf, 1/2]
    ("q", ("n", 12), ((("length", 2),), 1/10000))        12 {1/10000 length^2}

A quantity shows its unit in braces, as a multiple of base units; percent and degrees have their signs.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.units import DEGREE, PERCENT, Unit

MAX_NUMBER_CHARS = 60  # of one number; a longer one is cut in the middle
# How tightly each shape binds; a part that binds less than its place asks for is bracketed.
LIST, RELATION, UNION, SUM, PRODUCT, POWER, ATOM = range(7)
_SET_SIGNS = {"union": "U", "inter": "n", "minus": "\\"}
_FUNCTIONS = {"fact": "factorial"}


def readable(tree: Tree) -> str:
    """Return a tree as one line of text."""
    return _show(tree)[0]


def _show(tree: Tree) -> tuple[str, int]:
    """Return the text and how tightly its outermost sign binds."""
    shown = _SHAPES.get(tree[0])
    if shown is not None:
        return shown(tree)
    parts = ", ".join(_show(part)[0] if _is_tree(part) else str(part) for part in tree[1:])
    return f"{tree[0]}({parts})", ATOM


def _within(tree: Tree, least: int) -> str:
    text, level = _show(tree)
    return text if level >= least else f"({text})"


def _is_tree(part: Any) -> bool:
    return isinstance(part, tuple) and bool(part) and isinstance(part[0], str)


def _number(tree: Tree) -> tuple[str, int]:
    value: Fraction = tree[1]
    level = ATOM if value.denominator == 1 and value >= 0 else PRODUCT if value >= 0 else SUM
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4000:  # Python refuses to print more
        return f"(a number of {value.numerator.bit_length()}/{value.denominator.bit_length()} bits)", ATOM
    text = str(value)
    half = MAX_NUMBER_CHARS // 2
    return (text if len(text) <= MAX_NUMBER_CHARS else f"{text[:half]}...{text[-half:]}"), level


def _sum(tree: Tree) -> tuple[str, int]:
    text = _within(tree[1], SUM)
    for part in tree[2:]:
        if part[0] == "-":
            text += f" - {_within(part[1], PRODUCT)}"
        elif part[0] == "n" and part[1] < 0:
            text += f" - {_number(('n', -part[1]))[0]}"
        else:
            text += f" + {_within(part, PRODUCT)}"
    return text, SUM


def _quotient(tree: Tree) -> tuple[str, int]:
    return f"{_within(tree[1], PRODUCT)}/{_within(tree[2], POWER)}", PRODUCT


def _root(tree: Tree) -> tuple[str, int]:
    if tree[2] == ("n", Fraction(2)):
        return f"sqrt({readable(tree[1])})", ATOM
    return f"root({readable(tree[1])}, {readable(tree[2])})", ATOM


def _function(tree: Tree) -> tuple[str, int]:
    return f"{_FUNCTIONS.get(tree[1], tree[1])}({', '.join(map(readable, tree[2:]))})", ATOM


def _row(tree: Tree) -> tuple[str, int]:
    return f"{tree[1]}{', '.join(map(readable, tree[3:]))}{tree[2]}", ATOM


def _chain(tree: Tree) -> tuple[str, int]:
    text = _within(tree[2][0], UNION)
    for operator, side in zip(tree[1], tree[2][1:], strict=True):
        text += f" {operator} {_within(side, UNION)}"
    return text, RELATION


def _of_sets(tree: Tree) -> tuple[str, int]:
    return f" {_SET_SIGNS[tree[0]]} ".join(_within(part, SUM) for part in tree[1:]), UNION


def _matrix(tree: Tree) -> tuple[str, int]:
    return "[" + "; ".join(" ".join(_within(cell, PRODUCT) for cell in row) for row in tree[1]) + "]", ATOM


def _quantity(tree: Tree) -> tuple[str, int]:
    if tree[2] in (PERCENT, DEGREE):
        return _within(tree[1], PRODUCT) + ("%" if tree[2] == PERCENT else "°"), PRODUCT
    return f"{_within(tree[1], PRODUCT)} {{{_unit(tree[2])}}}", PRODUCT


def _unit(unit: Unit) -> str:
    dimensions, factor = unit
    names = "*".join(name if power == 1 else f"{name}^{power}" for name, power in dimensions)
    return names if factor == 1 else f"{factor} {names}"


_SHAPES: dict[str, Callable[[Tree], tuple[str, int]]] = {
    "n": _number,
    "c": lambda tree: (str(tree[1]), ATOM),
    "s": lambda tree: (str(tree[1]), ATOM),
    "text": lambda tree: (f'"{tree[1]}"', ATOM),
    "+": _sum,
    "-": lambda tree: (f"-{_within(tree[1], PRODUCT)}", SUM),
    "*": lambda tree: ("*".join(_within(part, PRODUCT) for part in tree[1:]), PRODUCT),
    "/": _quotient,
    "^": lambda tree: (f"{_within(tree[1], ATOM)}^{_within(tree[2], ATOM)}", POWER),
    "+-": lambda tree: (f"{_within(tree[1], SUM)} ± {_within(tree[2], PRODUCT)}", SUM),
    "-+": lambda tree: (f"{_within(tree[1], SUM)} ∓ {_within(tree[2], PRODUCT)}", SUM),
    "root": _root,
    "f": _function,
    "list": lambda tree: (", ".join(_within(part, RELATION) for part in tree[1:]), LIST),
    "seq": lambda tree: (", ".join(_within(part, RELATION) for part in tree[1:]), LIST),
    "dots": lambda tree: ("...", ATOM),
    "mod": lambda tree: (f"{_within(tree[1], RELATION)} (mod {readable(tree[2])})", RELATION),
    "otherwise": lambda tree: ("otherwise", ATOM),
    "case": lambda tree: (f"{_within(tree[1], RELATION)} if {_within(tree[2], RELATION)}", LIST),
    "set": lambda tree: ("{" + ", ".join(map(readable, tree[1:])) + "}", ATOM),
    "br": _row,
    "rel": lambda tree: (f"{_within(tree[2], UNION)} {tree[1]} {_within(tree[3], UNION)}", RELATION),
    "chain": _chain,
    "union": _of_sets,
    "inter": _of_sets,
    "minus": _of_sets,
    "mat": _matrix,
    "q": _quantity,
    "base": lambda tree: (f"{tree[1]} in base {tree[2]}", RELATION),
}
