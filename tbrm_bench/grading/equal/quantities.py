"""Compare values that carry something: a unit, a percent sign, degrees, a base.

Examples: 0.0072 kg and 7.2 grams are one mass; 35 and 0.35 are both 35 %; 70 degrees are 7 pi / 18; 65 stands for 65_8,
whose value 53 does not.
"""

from fractions import Fraction

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.shapes import either, peel, scaled
from tbrm_bench.grading.numbers.exact import exact, in_base
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import Tree, walk
from tbrm_bench.grading.read.units import COUNT, NO_UNIT, PERCENT, RADIAN, Unit, measures, without_count

ANGLE = (("angle", 1),)


def compare_quantities(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare two values that may carry units, percent signs or degrees."""
    gold, gold_unit = peel(gold)
    pred, pred_unit = peel(pred)
    gold_unit = gold_unit if gold_unit != NO_UNIT else comparer.policy.unit
    if (COUNT, 1) in pred_unit[0] and (COUNT, 1) not in gold_unit[0]:  # 3 dozen are 36
        pred, pred_unit = scaled(pred, pred_unit[1]), without_count(pred_unit)
    if RADIAN in (gold_unit, pred_unit):
        return _in_radians(comparer, gold, gold_unit, pred, pred_unit)
    if gold_unit == pred_unit == NO_UNIT:
        return comparer.value(gold, pred)
    if PERCENT in (gold_unit, pred_unit):
        return _percent(comparer, gold, gold_unit, pred, pred_unit)
    if gold_unit[0] == pred_unit[0]:
        if gold_unit[1] == pred_unit[1]:
            return comparer.value(gold, pred)
        return comparer.value(gold, scaled(pred, pred_unit[1] / gold_unit[1]))[0], "unit"
    if NO_UNIT not in (gold_unit, pred_unit) or not comparer.policy.missing_unit:
        return False, "unit"
    if ANGLE in (gold_unit[0], pred_unit[0]) and ("c", "pi") in (*walk(gold), *walk(pred)):
        return _radians(comparer, gold, gold_unit, pred, pred_unit)
    value, unit = (gold, gold_unit) if pred_unit == NO_UNIT else (pred, pred_unit)
    if not measures(unit, at_most_one=_is_at_most_one(value)):
        return False, "unit"
    verdict = comparer.value(gold, pred)
    if verdict[0] is False and (COUNT, 1) in gold_unit[0] and pred_unit == NO_UNIT:
        return comparer.value(scaled(gold, gold_unit[1]), pred)[0], "unit"
    return verdict


def _is_at_most_one(tree: Tree) -> bool:
    value = exact(tree)
    return value is not None and abs(value) <= 1


def _in_radians(comparer: Compares, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
    """Compare where one side says that it is in radians: a bare number then is too, and degrees are converted."""
    if ANGLE in (gold_unit[0], pred_unit[0]):
        return _radians(comparer, gold, gold_unit, pred, pred_unit)
    if {gold_unit, pred_unit} <= {RADIAN, NO_UNIT}:
        return comparer.value(gold, pred)
    return False, "unit"


def _percent(comparer: Compares, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
    if gold_unit == pred_unit:
        return comparer.value(gold, pred)
    if gold_unit[0] and pred_unit[0]:
        return False, "unit"
    # On the gold's scale, for which its tolerance is meant.
    verdict = comparer.value(gold, scaled(pred, Fraction(100) if gold_unit == PERCENT else Fraction(1, 100)))[0]
    if verdict is not True and comparer.policy.missing_percent and (gold_unit == PERCENT or _is_large(gold)):
        verdict = either(verdict, comparer.value(gold, pred)[0])
    return verdict, "percent"


def _radians(comparer: Compares, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
    """Compare degrees with an angle in terms of pi."""
    plain = pred if gold_unit[0] == ANGLE else gold
    if ("c", "pi") not in walk(plain):
        return False, "unit"
    angles = [("q", tree, unit) if unit[0] == ANGLE else tree for tree, unit in ((gold, gold_unit), (pred, pred_unit))]
    return comparer.value(*angles)[0], "degrees"


def compare_bases(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare digits with a base with anything."""
    if gold[0] == pred[0]:
        return gold[1].lstrip("0") == pred[1].lstrip("0") and gold[2] == pred[2], "base"
    based, other = (gold, pred) if gold[0] == "base" else (pred, gold)
    digits = exact(other)
    if comparer.policy.missing_base and based is gold:
        return digits is not None and str(digits) == based[1], "base"
    value = in_base(based[1], based[2])
    return value is not None and based is pred and digits == value, "base"


def _is_large(tree: Tree) -> bool:
    """Whether a bare gold can be a number of percent: 15 for 15 %, but 0.75 is not 0.75 %."""
    value = exact(tree)
    return value is not None and abs(value) > 1
