"""Compare two read answers, shape by shape; the leaves are expressions, which `numeric` compares.

Every comparison returns (verdict, rule): True or False with the rule that decided, or None when the fast arithmetic
cannot tell and a worker must. What is a matter of taste is a named field of GoldPolicy, with a strict default.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tbrm_bench.grading.equal.comparing import GoldPolicy
from tbrm_bench.grading.equal.derivatives import compare_derivatives
from tbrm_bench.grading.equal.families import compare_families
from tbrm_bench.grading.equal.left_sides import row_in_order_of
from tbrm_bench.grading.equal.piecewise import compare_cases
from tbrm_bench.grading.equal.quantities import compare_bases, compare_quantities
from tbrm_bench.grading.equal.regions import as_region, as_set, same_set
from tbrm_bench.grading.equal.relations import compare_relations, named_row
from tbrm_bench.grading.equal.residue_classes import compare_congruences
from tbrm_bench.grading.equal.rows import matched
from tbrm_bench.grading.equal.sequences import compare_sequences, in_closed_form
from tbrm_bench.grading.equal.set_builder import compare_described
from tbrm_bench.grading.equal.shapes import (
    as_shape_of,
    distinct,
    has_no_value,
    infinity,
    is_set_like,
    nested_rows,
    rule_of,
    spread,
    without_name,
)
from tbrm_bench.grading.equal.vectors import as_vectors
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.numbers import numeric
from tbrm_bench.grading.numbers.exact import canonical, plain
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import DOTS, Tree, number
from tbrm_bench.grading.read.units import NO_UNIT
from tbrm_bench.grading.read.words import bare, meaning, says_there_is_none, spelt_number

# Rules whose questions a worker answers: what it cannot compute there is not equal.
_SETTLED = ("congruence", "inequality", "cases", "family", "limit")


@dataclass(frozen=True, slots=True)
class Comparer:
    """Compares under one policy; `precise` in a worker, where nothing is left open that can be computed."""

    policy: GoldPolicy
    precise: bool

    def within(self, half: float) -> "Comparer":
        """Return a comparer that takes values for equal that are at most `half` apart."""
        return replace(self, policy=replace(self.policy, absolute_tolerance=half, relative_tolerance=0.0))

    def answers(self, golds: Sequence[Tree], pred: Tree) -> Verdict:
        """Compare all gold answers with all that a completion gives, in any order; constants may have any names."""
        if len(golds) == 1 and (settled := self._numbers(golds[0], pred)) is not None:
            return settled
        verdict = self.as_written(golds, pred)
        if verdict[0] is False:
            verdict = compare_families(self, golds, pred) or compare_derivatives(self, golds, pred) or verdict
        return (False, verdict[1]) if self.precise and verdict[0] is None and verdict[1] in _SETTLED else verdict

    def _numbers(self, gold: Tree, pred: Tree) -> Verdict | None:
        """Compare two numbers as such, which most answers are; None for anything else."""
        wanted = plain(gold)
        given = plain(pred) if wanted is not None else None
        if wanted is None or given is None or self.policy.is_tolerant or self.policy.unit != NO_UNIT:
            return None
        is_whole = wanted.denominator == given.denominator == 1
        return wanted == given, "integer" if is_whole else "rational"

    def as_written(self, golds: Sequence[Tree], pred: Tree) -> Verdict:
        """Compare all gold answers with all that a completion gives, in any order, letter for letter."""
        if (congruent := compare_congruences(self, golds, pred)) is not None:
            return congruent
        golds, pred = as_region(golds, pred)
        golds = [("seq", *golds)] if DOTS in golds else golds  # a gold that was split at its commas
        wanted = [part for gold in golds for part in spread(gold)]
        wanted = distinct(wanted) if len(golds) == 1 and golds[0][0] == "set" else wanted
        given = spread(pred)
        if len(wanted) == 1 < len(given) and (point := named_row(without_name(wanted[0]), given)) is not None:
            return self.item(wanted[0], point)
        if len(given) == 1 < len(wanted) and (point := named_row(without_name(given[0]), wanted)) is not None:
            return self.item(point, given[0])
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
        return not repeats or matched(table), rule

    def item(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare one value with one value."""
        if canonical(gold) == canonical(pred):
            return True, rule_of(gold)
        if (ordered := row_in_order_of(gold, pred)) is None:
            return False, "tuple"
        pred = ordered
        gold, pred = as_vectors(without_name(gold), without_name(pred))
        gold, pred = as_shape_of(pred, gold), as_shape_of(gold, pred)
        if gold == pred:
            return True, rule_of(gold)
        if "mat" in (gold[0], pred[0]):
            gold, pred = nested_rows(gold), nested_rows(pred)
        if "such" in (gold[0], pred[0]):
            return compare_described(self, gold, pred)
        if gold[0] in ("rel", "chain") or pred[0] in ("rel", "chain"):
            return compare_relations(self, gold, pred)
        if "cases" in (gold[0], pred[0]) and not {"rel", "chain"} & {gold[0], pred[0]}:
            return compare_cases(self, gold, pred)
        if "ell" in (gold[0], pred[0]):
            gold, pred = in_closed_form(gold), in_closed_form(pred)
        if "seq" in (gold[0], pred[0]):
            return compare_sequences(self, gold, pred)
        if gold[0] == pred[0] == "set":
            return self.same_members(distinct(gold[1:]), pred[1:], "set")
        if "set" in (gold[0], pred[0]) and is_set_like(gold) and is_set_like(pred):
            return same_set(as_set(gold), as_set(pred), self.value)
        if gold[0] == "br" or pred[0] == "br":
            return self._row(gold, pred)
        if gold[0] in ("union", "inter", "minus") or pred[0] in ("union", "inter", "minus"):
            return same_set(as_set(gold), as_set(pred), self.value)
        if gold[0] == "mat" or pred[0] == "mat":
            return self._matrix(gold, pred)
        if gold[0] == "base" or pred[0] == "base":
            return compare_bases(self, gold, pred)
        if gold[0] == "ratio" or pred[0] == "ratio":
            return self._ratio(gold, pred)
        if gold[0] == "text" or pred[0] == "text":
            return self._words(gold, pred)
        return compare_quantities(self, gold, pred)

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

    def _words(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] == pred[0]:
            return meaning(gold[1]) == meaning(pred[1]), "text"
        words, other = (gold, pred) if gold[0] == "text" else (pred, gold)
        if other[0] == "s" and len(other[1]) == 1:  # the choice A
            return bare(words[1]) == other[1].lower(), "text"
        if other == ("c", "empty"):
            return says_there_is_none(words[1]), "text"
        spelt = spelt_number(pred[1] if pred[0] == "text" else gold[1])
        if spelt is None:
            return False, "text"
        return compare_quantities(self, *((gold, number(spelt)) if pred[0] == "text" else (number(spelt), pred)))[
            0
        ], "text"

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

    def _ratio(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] != pred[0] or len(gold) != len(pred):
            return False, "tuple"
        crossed = [
            (("*", mine, pred[1]), ("*", theirs, gold[1])) for mine, theirs in zip(gold[2:], pred[2:], strict=True)
        ]
        return self.all_items([pair[0] for pair in crossed], [pair[1] for pair in crossed], "tuple")

    def _matrix(self, gold: Tree, pred: Tree) -> Verdict:
        if gold[0] != pred[0] or [len(row) for row in gold[1]] != [len(row) for row in pred[1]]:
            return False, "matrix"
        cells = [[cell for row in tree[1] for cell in row] for tree in (gold, pred)]
        return self.all_items(cells[0], cells[1], "matrix")
