r"""Ellipses: what is left out of a list, a sum, a product; the parts that are written keep their order.

    1, 2, \ldots, 9        ("seq", 1, 2, ("dots",), 9)          \{1, \ldots, 9\}   ("set", ("seq", ...))
    1 + 2 + \cdots + n     ("ell", "+", 1, 2, ("dots",), n)     a_1 a_2 \cdots a_n   ("ell", "*", ...)

A row in round brackets and a chain keep their shape, with ("dots",) among their parts.
"""

from tbrm_bench.grading.read.tree import DOTS, Tree


def gathered(tree: Tree) -> Tree:
    """Return a tree in which lists, sums and products with an ellipsis have shapes of their own."""
    if DOTS in tree[1:]:
        if tree[0] in ("+", "*"):
            return ("ell", *map(_inner, tree))
        if tree[0] == "list":
            return ("seq", *map(_inner, tree[1:]))
        if tree[0] == "set":
            return ("set", ("seq", *map(_inner, tree[1:])))
    return tuple(map(_inner, tree))


def _inner(part: object) -> object:
    return gathered(part) if isinstance(part, tuple) else part
