r"""Inequalities in several unknowns, and chains of them: which say the same.

    a < b          b > a, 0 < b - a, 2a < 2b       not b < a, not a \le b
    a < b < c      c > b > a
    x_1 < x_2 < \cdots < x_n      x_n > \cdots > x_1

A chain is taken apart into its links, each a difference with a sign; links are the same where one difference is a
positive multiple of the other.
"""

from collections.abc import Sequence

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.rows import matched
from tbrm_bench.grading.equal.shapes import has_no_value
from tbrm_bench.grading.numbers import numeric
from tbrm_bench.grading.numbers.balls import FLOATS, Undefined
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import DOTS, TURNED, Tree, number, symbols

INEQUALITIES = ("<", ">", "<=", ">=")
_OPERATORS = (*INEQUALITIES, "=")
Link = tuple[str, Tree]  # "<", "<=", "=" or "!=" and what is above, equal to or not below 0


def is_chain_of_links(tree: Tree) -> bool:
    """Whether a tree is an inequality or a chain that holds one, and nothing but inequalities and equations."""
    if tree[0] == "rel":
        return tree[1] in (*INEQUALITIES, "!=")
    return tree[0] == "chain" and set(tree[1]) <= {*_OPERATORS} and bool(set(tree[1]) & {*INEQUALITIES})


def compare_inequalities(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare two inequalities or chains of them."""
    sides = [_upwards(tree) for tree in (gold, pred)]
    if any(DOTS in row for _, row in sides):
        return _same_order(comparer, sides), "inequality"
    links = [_links(*side) for side in sides]
    if len(links[0]) != len(links[1]):
        return False, "inequality"
    table = [[_same_link(comparer, mine, theirs) for theirs in links[1]] for mine in links[0]]
    return matched(table), "inequality"


def _upwards(tree: Tree) -> tuple[tuple[str, ...], tuple[Tree, ...]]:
    """Return operators and sides from the smallest side to the largest; as written where the chain turns round."""
    operators, sides = (tree[1], tree[2]) if tree[0] == "chain" else ((tree[1],), tree[2:])
    if set(operators) & {"<", "<="}:
        return operators, sides
    return tuple(TURNED.get(operator, operator) for operator in reversed(operators)), tuple(reversed(sides))


def _links(operators: Sequence[str], sides: Sequence[Tree]) -> list[Link]:
    links = []
    for operator, left, right in zip(operators, sides, sides[1:], strict=False):
        low, high = (right, left) if operator in (">", ">=") else (left, right)
        links.append((operator.replace(">", "<"), ("+", high, ("-", low))))
    return links


def _same_link(comparer: Compares, gold: Link, pred: Link) -> bool | None:
    if gold[0] != pred[0] or has_no_value(gold[1]) or has_no_value(pred[1]):
        return False
    verdict = comparer.value(gold[1], pred[1])[0]
    names = symbols(gold[1])
    if verdict is True or not names or names != symbols(pred[1]):
        return verdict
    ratio = numeric.proportional(gold[1], pred[1], precise=comparer.precise)[0]
    if ratio is None:
        return False if comparer.precise else None
    return ratio and (gold[0] in ("=", "!=") or _is_positive_multiple(gold[1], pred[1], sorted(names)))


def _is_positive_multiple(left: Tree, right: Tree, names: Sequence[str]) -> bool:
    """Whether two expressions, known to be proportional, have one sign."""
    for trial in range(2, 8):
        point = {name: number(trial * (index + 2) ** 2 + 1)[1] / 7 for index, name in enumerate(names)}
        try:
            first, second = evaluate(left, point, FLOATS), evaluate(right, point, FLOATS)
        except Undefined:
            continue
        if all(isinstance(value, float) and abs(value) > error for value, error in (first, second)):
            return bool((first[0] > 0) == (second[0] > 0))
    return False


def _same_order(comparer: Compares, sides: Sequence[tuple[tuple[str, ...], tuple[Tree, ...]]]) -> bool | None:
    """Compare chains in which some sides are left out, side by side."""
    (operators, row), (others, other_row) = sides
    if operators != others or len(row) != len(other_row):
        return False
    verdict: bool | None = True
    for mine, theirs in zip(row, other_row, strict=True):
        same = mine == theirs or (DOTS not in (mine, theirs) and comparer.item(mine, theirs)[0])
        if same is False:
            return False
        verdict = None if same is None else verdict
    return verdict
