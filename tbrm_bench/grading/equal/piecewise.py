r"""Values that hang on conditions, compared case by case in any order.

    \begin{cases} 0 & a = 1 \\ a^2 & a \ge 2 \end{cases}     a^2 if a > 1, 0 if a = 1, since a is a whole number here
    \begin{cases} -x & x < 0 \\ x & x \ge 0 \end{cases}      x if x \ge 0, -x otherwise

"Otherwise" is what the other conditions leave. Whole numbers: where the conditions leave gaps that hold none.
"""

from collections.abc import Sequence
from itertools import pairwise

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.regions import Piece, as_set, same_set
from tbrm_bench.grading.equal.rows import matched
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.cases import OTHERWISE
from tbrm_bench.grading.read.tree import Tree, symbols

INTEGER_LETTERS = frozenset("ijklmnpqN")
_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "notin", "notin": "in"}


def compare_cases(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare two trees of which at least one has cases."""
    if gold[0] != pred[0] or len(gold) != len(pred):
        return False, "cases"
    conditions = [[case[2] for case in side[1:]] for side in (gold, pred)]
    whole = _are_whole(conditions[0], symbols(gold))
    for side in conditions:
        if side.count(OTHERWISE) > 1:
            return False, "cases"
    if all(OTHERWISE in side for side in conditions):
        resolved = conditions
    else:
        resolved = [[_resolved(condition, side) for condition in side] for side in conditions]
    table = [
        [_both(comparer, mine, theirs, resolved[0][i], resolved[1][k], whole) for k, theirs in enumerate(pred[1:])]
        for i, mine in enumerate(gold[1:])
    ]
    return matched(table), "cases"


def _both(comparer: Compares, gold: Tree, pred: Tree, mine: Tree, theirs: Tree, whole: bool) -> bool | None:
    """Compare value and condition of two cases."""
    if not _same_condition(comparer, mine, theirs, whole):
        return False
    return comparer.item(gold[1], pred[1])[0]


def _same_condition(comparer: Compares, gold: Tree, pred: Tree, whole: bool) -> bool:
    if gold == pred or OTHERWISE in (gold, pred):
        return gold == pred
    gold, pred = _pointwise(gold), _pointwise(pred)
    if canonical(gold) == canonical(pred):
        return True
    if len(symbols(gold)) == 1 and symbols(gold) == symbols(pred):
        sets = _set(gold, whole), _set(pred, whole)
        if sets[0] is not None and sets[1] is not None:
            return same_set(sets[0], sets[1], comparer.value)[0] is True
    return comparer.answers((gold,), pred)[0] is True


def _set(condition: Tree, whole: bool) -> list[Piece] | None:
    pieces = as_set(("inter", condition))
    if pieces is None or not whole:
        return pieces
    return [(*_inward(low, has_low, 1), *_inward(high, has_high, -1)) for low, has_low, high, has_high in pieces]


def _inward(end: Tree, has_end: bool, step: int) -> tuple[Tree, bool]:
    """Return an open end as the next whole number: n > 1 is n >= 2."""
    value = exact(end)
    if has_end or value is None or value.denominator != 1:
        return end, has_end
    return ("n", value + step), True


def _are_whole(conditions: Sequence[Tree], names: set[str]) -> bool:
    """Whether conditions on one letter are about whole numbers: by its name, or since n = 1, n >= 2 leave a gap."""
    letters = {name for condition in conditions for name in symbols(condition)}
    if len(letters) != 1:
        return False
    if letters <= INTEGER_LETTERS:
        return True
    pieces = [as_set(("inter", condition)) for condition in conditions]
    if any(part is None for part in pieces):
        return False
    union = as_set(("union", *conditions)) or []
    ends = [(exact(left[2]), exact(right[0])) for left, right in pairwise(union)]
    return bool(ends) and all(high is not None and low is not None and low - high == 1 for high, low in ends)


def _resolved(condition: Tree, all_of: Sequence[Tree]) -> Tree:
    """Return "otherwise" as the condition that it stands for, where that can be said."""
    if condition != OTHERWISE:
        return condition
    others = [other for other in all_of if other != OTHERWISE]
    if len(others) == 1:
        other = _pointwise(others[0])
        if other[0] == "mod" and other[1][0] == "rel" and other[1][1] in ("=", "!="):
            return ("mod", _negated(other[1]), other[2])
        if other[0] == "rel" and other[1] in _OPPOSITE:
            return _negated(other)
    letters = {name for other in others for name in symbols(other)}
    if len(letters) == 1 and as_set(("union", *others)) is not None:
        return ("minus", ("c", "R"), ("union", *others))
    return OTHERWISE


def _negated(relation: Tree) -> Tree:
    return ("rel", _OPPOSITE[relation[1]], *relation[2:])


def _pointwise(condition: Tree) -> Tree:
    """Return p = q = r = 0 as (p, q, r) = (0, 0, 0)."""
    if condition[0] != "chain" or set(condition[1]) != {"="} or exact(condition[2][-1]) is None:
        return condition
    names, value = condition[2][:-1], condition[2][-1]
    if any(name[0] != "s" for name in names):
        return condition
    return ("rel", "=", ("br", "(", ")", *names), ("br", "(", ")", *[value] * len(names)))
