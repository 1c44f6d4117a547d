"""Compare equations, inequalities and chains, with each other and with bare values.

Examples: 6x - 2y = 2 is the line y = 3x - 1; x = 8 gives the value 8; 2 <= x < 9 is [2, 9); f(t) = t^2 is f(x) = x^2.
"""

from collections.abc import Sequence

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.inequalities import INEQUALITIES, compare_inequalities, is_chain_of_links
from tbrm_bench.grading.equal.left_sides import define_the_same, in_order_of, same_member, with_letters_of
from tbrm_bench.grading.equal.regions import as_set, same_set
from tbrm_bench.grading.equal.rounding import approximates
from tbrm_bench.grading.equal.rows import matched
from tbrm_bench.grading.equal.shapes import has_no_value, is_curve, is_implicit, peel, scaled
from tbrm_bench.grading.numbers import numeric
from tbrm_bench.grading.numbers.exact import canonical
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.counted import takes_back
from tbrm_bench.grading.read.tree import Tree, symbols
from tbrm_bench.grading.read.units import DEGREE, NO_UNIT, PERCENT


def compare_relations(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare where at least one side is an equation, an inequality or a chain of them."""
    if gold[0] == pred[0] == "rel" and gold[1] == pred[1] == "=":
        return _equations(comparer, gold, pred)
    if gold[0] == pred[0] == "rel" and gold[1] == pred[1] == "to":
        return comparer.all_items(gold[2:], pred[2:], "limit")
    if gold[:2] == pred[:2] == ("rel", "in"):
        same = same_member(gold, pred) or comparer.item(gold[2], pred[2])[0]
        return comparer.item(gold[3], pred[3]) if same else (same, "interval")
    if _unknown(gold) and _unknown(pred) and _unknown(gold) != _unknown(pred):
        return False, "interval"  # y > 3 for x > 3
    sets = as_set(gold), as_set(pred)
    if sets[0] is not None and sets[1] is not None:
        return same_set(sets[0], sets[1], comparer.value)
    if gold[0] == pred[0] == "chain" and {*gold[1], *pred[1]} == {"="}:
        if len(gold[2]) != len(pred[2]):
            return False, "equation"
        return matched([[comparer.item(mine, theirs)[0] for theirs in pred[2]] for mine in gold[2]]), "equation"
    if is_chain_of_links(gold) and is_chain_of_links(pred):
        return compare_inequalities(comparer, gold, pred)
    if gold[0] not in ("rel", "chain"):
        return _any_side(comparer, gold, pred)
    if pred[0] not in ("rel", "chain"):
        return _one_sided(comparer, gold, pred)
    return False, "relation"


def _equations(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    pred = in_order_of(gold, with_letters_of(gold, pred))
    if gold[2][0] in ("ratio", "/") and canonical(gold[2]) == canonical(pred[2]):
        same = comparer.item(gold[3], pred[3])[0]
        if same is not False:
            return same, "equation"
    if gold[2][0] == pred[2][0] == "s" and define_the_same(gold, pred):
        return comparer.item(gold[3], pred[3])[0], "equation"
    sides = [("+", tree[2], ("-", tree[3])) for tree in (gold, pred)]
    if any(map(has_no_value, sides)):
        return False, "kind"
    return numeric.proportional(sides[0], sides[1], precise=comparer.precise)


def _unknown(tree: Tree) -> str | None:
    """Return the only letter of an inequality, or of what is in a set."""
    is_membership = tree[:2] == ("rel", "in")
    is_one = tree[0] == "chain" or is_membership or (tree[0] == "rel" and tree[1] in (*INEQUALITIES, "!="))
    names = symbols(tree[2] if is_membership else tree) if is_one else set()
    return names.pop() if len(names) == 1 else None


def named_row(gold: Tree, preds: Sequence[Tree]) -> Tree | None:
    """Return x = 1, y = 2 as the point (1, 2) where a point is wanted; None if that is not what they say."""
    if gold[0] != "br" or gold[1] != "(" or len(gold) != len(preds) + 3:
        return None
    if any(pred[0] != "rel" or pred[1] != "=" or pred[2][0] != "s" for pred in preds):
        return None
    names = [str(pred[2][1]) for pred in preds]
    if len(set(names)) < len(names):
        return None
    return (
        "br",
        "(",
        ")",
        *(pred[3] for _, pred in sorted(zip(names, preds, strict=True), key=lambda pair: pair[0])),
    )


def _one_sided(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare an equation's right side with a bare value."""
    if gold[0] != "rel" or gold[1] not in ("=", "approx", "in"):
        return False, "relation"
    named = symbols(gold[2]) or gold[2][0] == "text"  # Area = 12
    if not named or is_curve(gold) or (symbols(gold[2]) & symbols(gold[3])):
        return False, "relation"
    return comparer.item(gold[3], pred)[0], "equation"


def _in_first_unit(sides: Sequence[Tree]) -> list[Tree]:
    """Return 5 days = 120 hours as 5 days = 5 days: a gold without a unit is counted in the first one."""
    units = [peel(side)[1] for side in sides]
    first = next((unit for unit in units if unit[0] and unit[0] not in (PERCENT[0], DEGREE[0])), NO_UNIT)
    return [
        ("q", scaled(peel(side)[0], unit[1] / first[1]), first) if unit[0] == first[0] and unit != first else side
        for side, unit in zip(sides, units, strict=True)
    ]


def _are_named(sides: Sequence[Tree]) -> bool:
    """Whether words are the name of a value, Area = 12, not a value beside it or a denial: 12 = wrong, not it = 12."""
    if any(side[0] == "text" for side in sides[1:]):
        return False
    return sides[0][0] != "text" or not takes_back(str(sides[0][1]))


def _any_side(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare a bare value with what an answer such as "x = 2 + 3 = 5" ends in; its constants must all agree.

    In an approximation one of them must, and the others be what it rounds to.
    """
    operators, sides = (pred[1], pred[2]) if pred[0] == "chain" else ((pred[1],), pred[2:])
    if any(operator not in ("=", "approx", "in") for operator in operators) or is_implicit(pred):
        return False, "relation"
    if "approx" not in operators and peel(gold)[1] == comparer.policy.unit == NO_UNIT:
        sides = _in_first_unit(sides)
    if not _are_named(sides) and gold[0] != "text":
        return False, "relation"
    unknown = symbols(gold)
    # A name has letters that the gold has not: y = x + 1; "n = n + 1" are two values.
    values = [side for side in sides if side[0] == "br" or not (symbols(side) - unknown or side[0] == "text")]
    if unknown and sides[-1] not in values:
        values.append(sides[-1])
    if not values:
        return comparer.item(gold, sides[-1])[0], "equation"
    verdicts = [comparer.item(gold, side)[0] for side in values]
    if "approx" in operators:
        return approximates(comparer, gold, values, verdicts), "approximation"
    return (False if False in verdicts else None if None in verdicts else True), "equation"
