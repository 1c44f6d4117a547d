"""Compare two read answers, shape by shape; at the leaves stand expressions, which `numeric` compares.

Every comparison returns (verdict, rule): True or False with the rule that decided, or None when the fast arithmetic
cannot tell and a worker must. What is a matter of taste is a named field of Policy, with a strict default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tbrm_bench.grading import numeric
from tbrm_bench.grading.exact import canonical, exact, in_base
from tbrm_bench.grading.intervals import as_set, same_set
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.numeric import Verdict
from tbrm_bench.grading.shapes import (
    either,
    has_no_value,
    infinity,
    is_curve,
    is_implicit,
    is_set_like,
    may_rename,
    peel,
    rule_of,
    scaled,
    spread,
    without_name,
)
from tbrm_bench.grading.tree import Tree, number, symbols, walk
from tbrm_bench.grading.units import NO_UNIT, PERCENT, RADIAN, Unit
from tbrm_bench.grading.words import bare, spelt_number

INEQUALITIES = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
ANGLE = (("angle", 1),)


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts as equal where mathematicians differ; docs/grading.md has an example of each."""

    missing_unit: bool = True  # 12 for 12 cm, and 12 cm for 12: the question names the unit
    missing_percent: bool = True  # 15 for 15 %, and 15 % for 15
    missing_base: bool = True  # 52 for 52_8
    vector_as_tuple: bool = False  # a column for (1, 2, 3)
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    unit: Unit = NO_UNIT  # of a gold that is stored without it


@dataclass(frozen=True, slots=True)
class Comparer:
    """Compares under one policy; `precise` in a worker, where nothing is left open that can be computed."""

    policy: Policy
    precise: bool

    def answers(self, golds: Sequence[Tree], pred: Tree) -> Verdict:
        """Compare all gold answers with all that a completion gives, in any order."""
        wanted = [part for gold in golds for part in spread(gold)]
        given = spread(pred)
        if len(wanted) == 1 < len(given) and (point := self._named_row(wanted[0], given)) is not None:
            return self.item(wanted[0], point)
        if len(wanted) == len(given) == 1:
            return self.item(wanted[0], given[0])
        return self.same_members(wanted, given, "set")

    def same_members(self, wanted: Sequence[Tree], given: Sequence[Tree], rule: str) -> Verdict:
        """Compare without regard to order: each wanted one is given, and nothing else is."""
        if len(wanted) > MAX_ITEMS or len(given) > MAX_ITEMS:
            return False, "too_many_items"
        if len(given) < len(set(map(canonical, wanted))):
            return False, rule
        # A gold that repeats a value means it: the pair -2, -2 is not the set {-2}.
        repeats = len(set(map(canonical, wanted))) < len(wanted)
        if repeats and len(given) != len(wanted):
            return False, rule
        table = [[self.item(gold, pred)[0] for pred in given] for gold in wanted]
        for rows in (table, list(zip(*table, strict=True))):
            if any(all(cell is False for cell in row) for row in rows):
                return False, rule
        if any(cell is None for row in table for cell in row):
            return None, rule
        if repeats and sorted(map(sum, table)) != sorted(map(sum, zip(*table, strict=True))):  # type: ignore[arg-type]
            return False, rule
        return True, rule

    def item(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare one value with one value."""
        if canonical(gold) == canonical(pred):
            return True, rule_of(gold)
        gold, pred = without_name(gold), without_name(pred)
        if gold[0] in ("rel", "chain") or pred[0] in ("rel", "chain"):
            return self._relation(gold, pred)
        if "set" in (gold[0], pred[0]) and is_set_like(gold) and is_set_like(pred):
            return same_set(as_set(gold), as_set(pred), self.value)
        if gold[0] == "br" or pred[0] == "br":
            return self._row(gold, pred)
        if gold[0] in ("union", "inter", "minus") or pred[0] in ("union", "inter", "minus"):
            return same_set(as_set(gold), as_set(pred), self.value)
        if gold[0] == "mat" or pred[0] == "mat":
            return self._matrix(gold, pred)
        if gold[0] == "base" or pred[0] == "base":
            return self._base(gold, pred)
        if gold[0] == "text" or pred[0] == "text":
            return self._words(gold, pred)
        return self.quantity(gold, pred)

    def all_items(self, golds: Sequence[Tree], preds: Sequence[Tree], rule: str) -> Verdict:
        """Compare in order."""
        verdict: bool | None = True
        for gold, pred in zip(golds, preds, strict=True):
            equal = self.item(gold, pred)[0]
            if equal is False:
                return False, rule
            verdict = None if equal is None else verdict
        return verdict, rule

    def value(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare two expressions."""
        infinite = [infinity(gold), infinity(pred)]
        if any(infinite):
            return infinite[0] == infinite[1], "infinity"
        if has_no_value(gold) or has_no_value(pred):
            return False, "kind"
        policy = self.policy
        if policy.absolute_tolerance or policy.relative_tolerance:
            near = numeric.within(pred, gold, absolute=policy.absolute_tolerance, relative=policy.relative_tolerance)
            if near is not None:
                return near, "tolerance"
        return numeric.equal_precise(gold, pred) if self.precise else numeric.equal_fast(gold, pred)

    def quantity(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare two values that may carry units, percent signs or degrees."""
        gold, gold_unit = peel(gold)
        pred, pred_unit = peel(pred)
        gold_unit = gold_unit if gold_unit != NO_UNIT else self.policy.unit
        if RADIAN in (gold_unit, pred_unit):
            return self._in_radians(gold, gold_unit, pred, pred_unit)
        if gold_unit == pred_unit == NO_UNIT:
            return self.value(gold, pred)
        if PERCENT in (gold_unit, pred_unit):
            return self._percent(gold, gold_unit, pred, pred_unit)
        if gold_unit[0] == pred_unit[0]:
            if gold_unit[1] == pred_unit[1]:
                return self.value(gold, pred)
            return self.value(gold, scaled(pred, pred_unit[1] / gold_unit[1]))[0], "unit"
        if NO_UNIT not in (gold_unit, pred_unit) or not self.policy.missing_unit:
            return False, "unit"
        if ANGLE in (gold_unit[0], pred_unit[0]) and ("c", "pi") in (*walk(gold), *walk(pred)):
            return self._radians(gold, gold_unit, pred, pred_unit)
        return self.value(gold, pred)

    def _in_radians(self, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
        """Compare where one side says that it is in radians: a bare number then is too, and degrees are converted."""
        if ANGLE in (gold_unit[0], pred_unit[0]):
            return self._radians(gold, gold_unit, pred, pred_unit)
        if {gold_unit, pred_unit} <= {RADIAN, NO_UNIT}:
            return self.value(gold, pred)
        return False, "unit"

    def _percent(self, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
        if gold_unit == pred_unit:
            return self.value(gold, pred)
        if gold_unit[0] and pred_unit[0]:
            return False, "unit"
        # On the gold's scale, for which its tolerance is meant.
        verdict = self.value(gold, scaled(pred, Fraction(100) if gold_unit == PERCENT else Fraction(1, 100)))[0]
        if verdict is not True and self.policy.missing_percent and (gold_unit == PERCENT or _is_large(gold)):
            verdict = either(verdict, self.value(gold, pred)[0])
        return verdict, "percent"

    def _radians(self, gold: Tree, gold_unit: Unit, pred: Tree, pred_unit: Unit) -> Verdict:
        """Compare degrees with an angle in terms of pi."""
        plain = pred if gold_unit[0] == ANGLE else gold
        if ("c", "pi") not in walk(plain):
            return False, "unit"
        angles = [
            ("q", tree, unit) if unit[0] == ANGLE else tree for tree, unit in ((gold, gold_unit), (pred, pred_unit))
        ]
        return self.value(*angles)[0], "degrees"

    def _words(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] == pred[0]:
            return bare(gold[1]) == bare(pred[1]), "text"
        spelt = spelt_number(pred[1] if pred[0] == "text" else gold[1])
        if spelt is None:
            return False, "text"
        return self.quantity(*((gold, number(spelt)) if pred[0] == "text" else (number(spelt), pred)))[0], "text"

    def _row(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] == pred[0] == "br":
            if len(gold) != len(pred):
                return False, "tuple"
            pairs = {gold[1] + gold[2], pred[1] + pred[2]}
            if len(pairs) == 2 and pairs != {"()", "<>"}:
                return False, "interval" if len(gold) == 5 else "tuple"
            return self.all_items(gold[3:], pred[3:], "tuple" if gold[1] + gold[2] in ("()", "<>") else "interval")
        if is_set_like(gold) and is_set_like(pred):
            return same_set(as_set(gold), as_set(pred), self.value)
        if "mat" in (gold[0], pred[0]) and self.policy.vector_as_tuple:
            row, column = (gold, pred) if gold[0] == "br" else (pred, gold)
            cells = [cell for line in column[1] for cell in line]
            if len(cells) == len(row) - 3:
                return self.all_items(row[3:], cells, "tuple")
        return False, "kind"

    def _matrix(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] != pred[0] or [len(row) for row in gold[1]] != [len(row) for row in pred[1]]:
            return False, "matrix"
        cells = [[cell for row in tree[1] for cell in row] for tree in (gold, pred)]
        return self.all_items(cells[0], cells[1], "matrix")

    def _base(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] == pred[0]:
            return gold[1].lstrip("0") == pred[1].lstrip("0") and gold[2] == pred[2], "base"
        based, other = (gold, pred) if gold[0] == "base" else (pred, gold)
        digits = exact(other)
        if self.policy.missing_base and based is gold:
            return digits is not None and str(digits) == based[1], "base"
        value = in_base(based[1], based[2])
        return value is not None and based is pred and digits == value, "base"

    def _relation(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] == pred[0] == "rel" and gold[1] == pred[1] == "=":
            return self._equations(gold, pred)
        sets = as_set(gold), as_set(pred)
        if sets[0] is not None and sets[1] is not None:
            return same_set(sets[0], sets[1], self.value)
        if gold[0] == pred[0] == "rel" and gold[1] in INEQUALITIES and pred[1] in INEQUALITIES:
            return self._inequalities(gold, pred)
        if gold[0] not in ("rel", "chain"):
            return self._any_side(gold, pred)
        if pred[0] not in ("rel", "chain"):
            return self._one_sided(gold, pred)
        return False, "relation"

    def _equations(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[2][0] == pred[2][0] == "s" and may_rename(gold, pred):
            return self.item(gold[3], pred[3])[0], "equation"
        sides = [("+", tree[2], ("-", tree[3])) for tree in (gold, pred)]
        return numeric.proportional(sides[0], sides[1], precise=self.precise)

    def _inequalities(self, gold: Tree, pred: Tree) -> Verdict:
        rows = []
        for tree in (gold, pred):
            low, high = (tree[2], tree[3]) if tree[1] in ("<", "<=") else (tree[3], tree[2])
            rows.append(("<=" if "=" in tree[1] else "<", ("+", high, ("-", low))))
        if rows[0][0] != rows[1][0]:
            return False, "inequality"
        return self.value(rows[0][1], rows[1][1])[0], "inequality"

    def _named_row(self, gold: Tree, preds: Sequence[Tree]) -> Tree | None:
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

    def _one_sided(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare an equation's right side with a bare value."""
        if gold[0] != "rel" or gold[1] not in ("=", "approx", "in"):
            return False, "relation"
        named = symbols(gold[2]) or gold[2][0] == "text"  # Area = 12
        if not named or is_curve(gold) or (symbols(gold[2]) & symbols(gold[3])):
            return False, "relation"
        return self.item(gold[3], pred)[0], "equation"

    def _any_side(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare a bare value with what an answer such as "x = 2 + 3 = 5" ends in; its constants must all agree."""
        operators, sides = (pred[1], pred[2]) if pred[0] == "chain" else ((pred[1],), pred[2:])
        if any(operator not in ("=", "approx", "in") for operator in operators) or is_implicit(pred):
            return False, "relation"
        unknown = bool(symbols(gold))
        constants = [side for side in sides if side[0] == "br" or not (symbols(side) or side[0] == "text")]
        values = [sides[-1]] if unknown else constants
        if not values:
            return self.item(gold, sides[-1])[0], "equation"
        verdicts = [self.item(gold, side)[0] for side in values]
        if "approx" in operators:
            return (True if True in verdicts else None if None in verdicts else False), "approximation"
        return (False if False in verdicts else None if None in verdicts else True), "equation"


def _is_large(tree: Tree) -> bool:
    """Whether a bare gold can be a number of percent: 15 for 15 %, but 0.75 is not 0.75 %."""
    value = exact(tree)
    return value is not None and abs(value) > 1
