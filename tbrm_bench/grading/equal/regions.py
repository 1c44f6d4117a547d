"""Sets of real numbers: intervals, unions, inequalities in one unknown; compared piece by piece, brackets included.

    (2, \\infty)   x > 2   x \\in (2, \\infty)          one interval, open at 2
    (-\\infty, 0) \\cup \\{1\\}                         an interval and a point
    \\mathbb{R} \\setminus \\{0\\}                      the same as (-\\infty, 0) \\cup (0, \\infty)

Pieces whose ends are known numbers are put in order and joined where they touch, so that two spellings of one set are
one list of pieces.
"""

from collections.abc import Callable, Sequence
from functools import reduce

from tbrm_bench.grading.equal.linear import linear, root_of
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.numbers.balls import FLOATS, Undefined
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import TURNED, Tree, items_of, symbols, walk

MINUS_INFINITY: Tree = ("-", ("c", "inf"))
INFINITY: Tree = ("c", "inf")
# low end, whether it belongs to the piece, high end, whether it belongs to the piece
Piece = tuple[Tree, bool, Tree, bool]


def as_set(tree: Tree) -> list[Piece] | None:
    """Return the pieces of a set of real numbers in order; None if the tree is not such a set."""
    try:
        pieces = _pieces(tree)
    except (Undefined, TypeError, KeyError):
        return None
    if pieces is None or len(pieces) > MAX_ITEMS:
        return None
    try:
        return _merged(sorted(pieces, key=lambda piece: (_end(piece[0]), not piece[1], _end(piece[2]))))
    except (Undefined, TypeError, KeyError):
        return pieces


def as_region(golds: Sequence[Tree], pred: Tree) -> tuple[Sequence[Tree], Tree]:
    """Return lists of intervals or inequalities as one set, where the other side is one set of numbers.

    "(-oo, 1), (4, oo)" is a union; "x < 1, x > 4" as well; "x > 1, x < 4" and "2 <= x <= 5, x != 3" hold together.
    """
    golds, pred = [part for gold in golds for part in items_of(_apart(gold))], _apart(pred)
    if pred[0] == "list" and len(golds) == 1 and _is_region(golds[0]):
        return golds, _joined(pred[1:]) or pred
    if len(golds) > 1 and pred[0] in ("union", "chain") and (region := _joined(golds)) is not None:
        return [region], pred
    return golds, pred


def _apart(tree: Tree) -> Tree:
    """Return a > 0 and b < 0, which are about two unknowns, as two answers."""
    return ("list", *tree[1:]) if tree[0] == "inter" and len(_unknowns(tree)) > 1 else tree


def _is_region(tree: Tree) -> bool:
    return tree[0] in ("union", "inter", "minus", "chain") or (tree[0] == "rel" and tree[1] not in ("=", "approx"))


def _joined(items: Sequence[Tree]) -> Tree | None:
    if all(item[0] in ("br", "union", "set") for item in items):
        return ("union", *items)
    are_relations = all(item[0] == "chain" or (item[0] == "rel" and item[1] != "approx") for item in items)
    if not are_relations or not any(map(_is_region, items)):
        return None
    return ("inter" if as_set(("inter", *items)) else "union", *items)


def same_set(gold: list[Piece] | None, pred: list[Piece] | None, equal: Callable[[Tree, Tree], Verdict]) -> Verdict:
    """Compare two sets, given how to compare two numbers."""
    if gold is None or pred is None:
        return False, "kind"
    if len(gold) != len(pred):
        return False, "interval"
    verdict: bool | None = True
    for (low, has_low, high, has_high), other in zip(gold, pred, strict=True):
        if (has_low, has_high) != (other[1], other[3]):
            return False, "interval"
        for mine, theirs in ((low, other[0]), (high, other[2])):
            same = equal(mine, theirs)[0]
            if same is False:
                return False, "interval"
            verdict = None if same is None else verdict
    return verdict, "interval"


def _pieces(tree: Tree) -> list[Piece] | None:
    kind = tree[0]
    if kind == "br" and len(tree) == 5 and tree[1] != "<":
        return [(tree[3], tree[1] == "[", tree[4], tree[2] == "]")]
    if kind == "set":
        return [(point, True, point, True) for point in tree[1:]]
    if kind == "c":
        return {"R": [(MINUS_INFINITY, False, INFINITY, False)], "empty": []}.get(tree[1])
    if kind in ("union", "inter"):
        parts = [_condition(part) for part in tree[1:]] if len(_unknowns(tree)) < 2 else [None]
        if kind == "inter":
            return reduce(_overlap, parts)
        return None if None in parts else [piece for part in parts for piece in part or []]
    if kind == "minus":
        return _difference(_pieces(tree[1]), _pieces(tree[2]))
    if kind == "rel" and tree[1] == "in":  # x^2 \\in [0, 4] is no set of x as written
        return _pieces(tree[3]) if tree[2][0] in ("s", "text", "br") else None
    if kind == "rel":
        return _half_line(tree[1], tree[2], tree[3])
    if kind == "chain":
        return _between(tree[1], tree[2])
    return None


def _condition(tree: Tree) -> list[Piece] | None:
    """Return the pieces of one of several conditions, which may be an equation: x < 0 or x = 1."""
    if tree[0] != "rel" or tree[1] != "=":
        return _pieces(tree)
    solved = _solved(tree[2], tree[3])
    return [(solved[0], True, solved[0], True)] if solved is not None else None


def _unknowns(tree: Tree) -> set[str]:
    """Return the letters that conditions joined by "or" or "and" are about."""
    parts = [part for part in walk(tree) if part[0] in ("rel", "chain")]
    return {name for part in parts for name in (symbols(part[2]) if part[1] == "in" else symbols(part))}


def _overlap(left: list[Piece] | None, right: list[Piece] | None) -> list[Piece] | None:
    if left is None or right is None:
        return None
    pieces: list[Piece] = []
    for mine in left:
        for other in right:
            low, has_low = _later(mine[:2], other[:2])
            high, has_high = _earlier(mine[2:], other[2:])
            if _end(low) < _end(high) or (_end(low) == _end(high) and has_low and has_high):
                pieces.append((low, has_low, high, has_high))
    return pieces


def _later(left: tuple[Tree, bool], right: tuple[Tree, bool]) -> tuple[Tree, bool]:
    if _end(left[0]) == _end(right[0]):
        return left[0], left[1] and right[1]
    return left if _end(left[0]) > _end(right[0]) else right


def _earlier(left: tuple[Tree, bool], right: tuple[Tree, bool]) -> tuple[Tree, bool]:
    if _end(left[0]) == _end(right[0]):
        return left[0], left[1] and right[1]
    return left if _end(left[0]) < _end(right[0]) else right


def _half_line(operator: str, left: Tree, right: Tree) -> list[Piece] | None:
    if left[:2] == ("f", "abs"):
        return _around(operator, left[2], right)
    solved = _solved(left, right)
    if solved is None or operator not in TURNED:
        return None
    end, is_turned = solved
    operator = TURNED[operator] if is_turned else operator
    if operator == "!=":
        return [(MINUS_INFINITY, False, end, False), (end, False, INFINITY, False)]
    if operator in ("<", "<="):
        return [(MINUS_INFINITY, False, end, operator == "<=")]
    return [(end, operator == ">=", INFINITY, False)]


def _solved(left: Tree, right: Tree) -> tuple[Tree, bool] | None:
    """Return where two sides that are linear in one unknown are equal, and whether its slope turns an inequality."""
    if left[0] == "s" and not symbols(right):
        return right, False
    if right[0] == "s" and not symbols(left):
        return left, True
    names = symbols(left) | symbols(right)
    line = linear(("+", left, ("-", right)), names.pop()) if len(names) == 1 else None
    slope = _end(line[0]) if line is not None else 0
    return (root_of(line), slope < 0) if line is not None and slope else None


def _around(operator: str, inner: Tree, radius: Tree) -> list[Piece] | None:
    """Return |x - c| < r as (c - r, c + r), |x - c| > r as what is left without it."""
    names = symbols(inner)
    line = linear(inner, names.pop()) if len(names) == 1 and not symbols(radius) else None
    if line is None or _end(radius) <= 0 or not (slope := _end(line[0])):
        return None
    ends = [root_of((line[0], ("+", line[1], far))) for far in (radius, ("-", radius))]
    low, high = ends if slope > 0 else reversed(ends)
    if operator in ("<", "<="):
        return [(low, operator == "<=", high, operator == "<=")]
    if operator in (">", ">="):
        return [(MINUS_INFINITY, False, low, operator == ">="), (high, operator == ">=", INFINITY, False)]
    return None


def _between(operators: Sequence[str], sides: Sequence[Tree]) -> list[Piece] | None:
    if len(sides) != 3 or symbols(sides[0]) or symbols(sides[2]):
        return None
    lower, upper = _solved(sides[1], sides[0]), _solved(sides[1], sides[2])
    if lower is None or upper is None:
        return None
    ends = [(lower[0], operators[0] in ("<=", ">=")), (upper[0], operators[1] in ("<=", ">="))]
    if set(operators) <= {"<", "<="}:
        is_rising = not lower[1]
    elif set(operators) <= {">", ">="}:
        is_rising = lower[1]
    else:
        return None
    (low, has_low), (high, has_high) = ends if is_rising else reversed(ends)
    return [(low, has_low, high, has_high)]


def _difference(pieces: list[Piece] | None, cuts: list[Piece] | None) -> list[Piece] | None:
    """Cut intervals and single points out of intervals."""
    if pieces is None or cuts is None:
        return None
    for low, has_low, high, has_high in cuts:
        outside = [(MINUS_INFINITY, False, low, not has_low), (high, not has_high, INFINITY, False)]
        pieces = [piece for side in outside for piece in _overlap(pieces, [side]) or []]
    return pieces


def _end(tree: Tree) -> float:
    if tree in (INFINITY, MINUS_INFINITY):
        return float("inf") if tree == INFINITY else float("-inf")
    value = evaluate(tree, {}, FLOATS)[0]
    if isinstance(value, complex):
        raise Undefined("an end that is not real")
    return float(value)


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Join pieces that touch in a point of one of them; only where the ends are the same tree."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1][2] == piece[0] and (merged[-1][3] or piece[1]):
            low, has_low, _, _ = merged[-1]
            merged[-1] = (low, has_low, piece[2], piece[3])
        else:
            merged.append(piece)
    return merged
