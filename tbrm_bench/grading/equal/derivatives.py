r"""Differential equations: \dot{x}, x', x'(t) and \frac{dx}{dt} are one derivative, x and x(t) one function.

x' = kx - a          \dot{x}(t) - kx(t) = -a
m \dot{v} + bv = f   \frac{dv}{dt} + \frac{b}{m} v = \frac{f}{m}, solved for the derivative
"""

import re
from collections.abc import Sequence

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.left_sides import LeftSide, left_side, renamed
from tbrm_bench.grading.equal.linear import linear
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import Tree, symbols

_DOTTED = re.compile(r"(?P<dots>d?dot)\((?P<name>\w+)\)(?P<index>_\w+)?(?:\((?P<argument>[a-z])\))?")


def compare_derivatives(comparer: Compares, golds: Sequence[Tree], pred: Tree) -> Verdict | None:
    """Compare two equations with derivatives in any notation; None for all others."""
    gold = golds[0]
    if len(golds) != 1 or gold[:2] != ("rel", "=") or pred[:2] != ("rel", "="):
        return None
    orders = {name: _parts(name).order for name in symbols(gold)}
    derivatives = [name for name, order in orders.items() if order.startswith("'")]
    if not derivatives:
        return None
    highest = max(derivatives, key=lambda name: len(orders[name]))
    lines = []
    for tree in (gold, _in_notation_of(gold, pred)):
        line = linear(("+", tree[2], ("-", tree[3])), highest)
        if line is None or highest not in symbols(tree):
            return None
        lines.append(("/", line[1], line[0]))
    return comparer.value(lines[0], lines[1])[0], "equation"


def _in_notation_of(gold: Tree, pred: Tree) -> Tree:
    """Return an equation with the derivatives, and the functions of the same one letter, as the gold writes them."""
    wanted = {name: _parts(name) for name in symbols(gold)}
    given = {name: _parts(name) for name in symbols(pred) - set(wanted)}
    arguments = {part.arguments for part in (*wanted.values(), *given.values()) if part.arguments}
    if len(arguments) > 1 or not all(re.fullmatch("[a-z]", "".join(row)) for row in arguments):
        return pred  # x(0), x(s): another point, another letter
    names = {}
    for name, part in given.items():
        fits = [own for own, other in wanted.items() if other[:2] == part[:2]]
        if len(fits) == 1:
            names[name] = fits[0]
    return renamed(pred, names)


def _parts(name: str) -> LeftSide:
    if dotted := _DOTTED.fullmatch(name):
        argument = (dotted["argument"],) if dotted["argument"] else ()
        return LeftSide(dotted["name"] + (dotted["index"] or ""), "'" * (len(dotted["dots"]) - 2), argument)
    return (not re.fullmatch(r"\w+", name) and left_side(("s", name))) or LeftSide(name)
