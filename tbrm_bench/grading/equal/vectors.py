r"""Vectors that are written as sums: in unit vectors, or of rows.

3\mathbf{i} - 2\mathbf{j} + \mathbf{k}, 3\hat{\imath} - 2\hat{\jmath} + \hat{k}     (3, -2, 1)
3i - 2j + k                                 beside a row, a column or one of the above
p(-2, 1, 0) + q(1, -2, 1)                   (-2p + q, p - 2q, q)
"""

from collections.abc import Sequence

from tbrm_bench.grading.equal.linear import linear
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.read.tree import ZERO, Tree, symbols, walk

_UNITS = ("hat(i)", "hat(j)", "hat(k)")
_PLAIN: dict[Tree, Tree] = {("c", "i"): ("s", _UNITS[0]), ("s", "j"): ("s", _UNITS[1]), ("s", "k"): ("s", _UNITS[2])}
_SUMS = frozenset(("+", "-", "*", "/", "s", "c"))


def as_vectors(gold: Tree, pred: Tree) -> tuple[Tree, Tree]:
    """Return two answers as rows, or columns, where one is a sum of vectors; as they are where neither is."""
    shapes = [_is_row(tree) for tree in (gold, pred)]
    if all(shapes) or not (gold[0] in _SUMS or pred[0] in _SUMS):
        return gold, pred
    if any(shapes):
        row, other = (gold, pred) if shapes[0] else (pred, gold)
        cells = _cells(other, _size(row)) if other[0] in _SUMS else None
        if cells is None:
            return gold, pred
        shaped = _like(row, cells)
        return (gold, shaped) if shapes[0] else (shaped, pred)
    if not any(name in _UNITS for name in (*symbols(gold), *symbols(pred))):
        return gold, pred
    rows = [_in_units(tree) for tree in (gold, pred)]
    if rows[0] is None or rows[1] is None:
        return gold, pred
    return ("br", "(", ")", *rows[0]), ("br", "(", ")", *rows[1])


def _is_row(tree: Tree) -> bool:
    return (tree[0] == "br" and tree[1] + tree[2] in ("()", "<>", "[]")) or (
        tree[0] == "mat" and (len(tree[1]) == 1 or len(tree[1][0]) == 1)
    )


def _size(row: Tree) -> int:
    return len(row) - 3 if row[0] == "br" else max(len(row[1]), len(row[1][0]))


def _like(row: Tree, cells: Sequence[Tree]) -> Tree:
    if row[0] == "br":
        return (*row[:3], *cells)
    return ("mat", (tuple(cells),) if len(row[1]) == 1 else tuple((cell,) for cell in cells))


def _cells(tree: Tree, size: int) -> list[Tree] | None:
    cells = _sum_of_rows(tree) if any(map(_is_row, walk(tree))) else _in_units(tree)
    if cells is not None and len(cells) == 3 and size == 2 and exact(cells[2]) == 0:
        cells = cells[:2]
    return cells if cells is not None and len(cells) == size else None


def _in_units(tree: Tree) -> list[Tree] | None:
    """Return the three coordinates of a sum of unit vectors; None for anything else, 2i + 3 among it."""
    hatted = _hatted(tree)
    names = symbols(hatted)
    if not symbols(tree) & set(_UNITS) and not names & set(_UNITS[1:]):
        return None  # a complex number
    coordinates, rest = [], hatted
    for unit in _UNITS:
        line = linear(rest, unit)
        if line is None or symbols(line[0]) & set(_UNITS):
            return None
        coordinates.append(canonical(line[0]))
        rest = line[1]
    return coordinates if exact(rest) == 0 or canonical(rest) == ZERO else None


def _hatted(tree: Tree) -> Tree:
    if tree in _PLAIN:
        return _PLAIN[tree]
    return tuple(_hatted(part) if isinstance(part, tuple) else part for part in tree)


def _sum_of_rows(tree: Tree) -> list[Tree] | None:
    if tree[0] == "br" and _is_row(tree):
        return list(tree[3:])
    if tree[0] == "+":
        rows = [row for part in tree[1:] if (row := _sum_of_rows(part)) is not None]
        if len(rows) < len(tree) - 1 or len({len(row) for row in rows}) != 1:
            return None
        return [("+", *column) for column in zip(*rows, strict=True)]
    if tree[0] in ("-", "/"):
        row = _sum_of_rows(tree[1])
        return None if row is None else [(tree[0], cell, *tree[2:]) for cell in row]
    if tree[0] == "*":
        holders = [part for part in tree[1:] if any(map(_is_row, walk(part)))]
        row = _sum_of_rows(holders[0]) if len(holders) == 1 else None
        factors = tuple(part for part in tree[1:] if part is not holders[0])
        return None if row is None else [("*", cell, *factors) for cell in row]
    return None
