r"""Linear expressions in one unknown: 3 - 2x is -2 times x plus 3, with any numbers for the two.

linear(2x - \sqrt3, "x")    (2, -\sqrt3)
linear(x^2, "x")            None
"""

from tbrm_bench.grading.numbers.exact import canonical
from tbrm_bench.grading.read.tree import ONE, ZERO, Tree, symbols

Line = tuple[Tree, Tree]  # slope, value at 0


def linear(tree: Tree, name: str) -> Line | None:
    """Return the slope and the value at 0 of an expression that is linear in a symbol; None for any other."""
    if name not in symbols(tree):
        return ZERO, tree
    if tree[0] == "s":
        return ONE, ZERO
    if tree[0] == "+":
        lines = [linear(part, name) for part in tree[1:]]
        slopes, starts = (
            zip(*(line for line in lines if line is not None), strict=True) if None not in lines else ((), ())
        )
        return (("+", *slopes), ("+", *starts)) if slopes else None
    if tree[0] == "-":
        inner = linear(tree[1], name)
        return None if inner is None else (("-", inner[0]), ("-", inner[1]))
    if tree[0] == "*":
        holders = [part for part in tree[1:] if name in symbols(part)]
        inner = linear(holders[0], name) if len(holders) == 1 else None
        if inner is None:
            return None
        others = tuple(part for part in tree[1:] if part is not holders[0])
        return ("*", inner[0], *others), ("*", inner[1], *others)
    if tree[0] == "/" and name not in symbols(tree[2]):
        inner = linear(tree[1], name)
        return None if inner is None else (("/", inner[0], tree[2]), ("/", inner[1], tree[2]))
    return None


def root_of(line: Line) -> Tree:
    """Return where a line with a slope other than 0 is 0."""
    return canonical(("-", ("/", line[1], line[0])))
