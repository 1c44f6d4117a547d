r"""Lists with an ellipsis: the numbers from here to there, or a row of terms as written.

    1, 2, \ldots, 1235     \{1, \dots, 1235\}, 1, 2, 3, \ldots, 1235
    2, 4, 6, \ldots        2, 4, \ldots
    1, 2, 4, \ldots, 2^n   as written only: nobody can know the terms between

Terms in even steps are a run: its first term, its step and its last term, if it has one.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.limits import MAX_ITEMS
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import DOTS, ONE, Tree, number


class Steps(NamedTuple):
    """Terms in even steps; without a last one they never end."""

    first: Tree
    step: Tree
    last: Tree | None


def compare_sequences(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare two lists of which at least one has an ellipsis."""
    if gold[0] != pred[0]:
        return False, "set"
    runs = run_of(gold), run_of(pred)
    if runs[0] is None or runs[1] is None:
        return _term_by_term(comparer, gold[1:], pred[1:]), "set"
    golds, preds = ([part for part in run if part is not None] for run in runs if run is not None)
    if len(golds) != len(preds):
        return False, "set"
    return comparer.all_items(golds, preds, "set")


def run_of(tree: Tree) -> Steps | None:
    """Return the run that a list with one ellipsis is; None for any other."""
    terms = tree[1:]
    if terms.count(DOTS) != 1:
        return None
    before, after = terms[: terms.index(DOTS)], terms[terms.index(DOTS) + 1 :]
    if not before or (len(before) == 1 and (not after or exact(before[0]) is None)):
        return None
    step = _difference(before[0], before[1]) if len(before) > 1 else ONE
    pairs = [*pairwise(before), *pairwise(after)]
    if any(_difference(*pair) != step for pair in pairs) or not _reaches(before[-1], step, after):
        return None
    first, last = canonical(before[0]), canonical(after[-1]) if after else None
    if (size := exact(step)) is not None and size < 0 and last is not None:  # 9, 8, ..., 1
        return Steps(last, number(-size), first)
    return Steps(first, step, last)


def in_closed_form(tree: Tree) -> Tree:
    """Return 1 + 2 + ... + n as n (n + 1) / 2 and 1 * 2 ... n as n!; anything else as it is."""
    steps = run_of(("seq", *tree[2:])) if tree[0] == "ell" else None
    if steps is None or steps.last is None or exact(steps.first) is None or exact(steps.step) is None:
        return tree
    first, step, last = steps.first, steps.step, steps.last
    if tree[1] == "+":
        count = ("+", ("/", ("+", last, ("-", first)), step), ONE)
        return ("/", ("*", count, ("+", first, last)), number(2))
    return ("f", "fact", last) if first in (ONE, number(2)) and step == ONE else tree


def members(tree: Tree) -> list[Tree] | None:
    """Return all terms of a run that has few, and known ones."""
    run = run_of(tree)
    first, step, last = (exact(part) if part is not None else None for part in run or (None, None, None))
    if first is None or not step or last is None or (last - first) / step >= MAX_ITEMS:
        return None
    return [number(first + index * step) for index in range(int((last - first) / step) + 1)]


def _difference(left: Tree, right: Tree) -> Tree:
    return canonical(("+", right, ("-", left)))


def _reaches(start: Tree, step: Tree, after: Sequence[Tree]) -> bool:
    """Whether a run can go on to the terms behind the ellipsis."""
    if not after:
        return True
    distance, size = exact(_difference(start, after[0])), exact(step)
    if distance is None or size is None:
        return size != 0
    return size != 0 and distance / size >= 1 and (distance / size).denominator == 1


def _term_by_term(comparer: Compares, golds: Sequence[Tree], preds: Sequence[Tree]) -> bool | None:
    if len(golds) != len(preds) or [term == DOTS for term in golds] != [term == DOTS for term in preds]:
        return False
    wanted, given = ([term for term in terms if term != DOTS] for terms in (golds, preds))
    return comparer.all_items(wanted, given, "set")[0]
