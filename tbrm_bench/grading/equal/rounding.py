r"""An approximation with several sides: one is the gold, and every other one is what the gold rounds to.

    \frac13 \approx 0.333          both are 1/3: 0.333 is what it rounds to at the last digit of 0.333
    0.333 \approx 0.34             0.34 is not what either rounds to
    5 \text{ m} \approx 16.4 \text{ ft}    a length, converted

So a row of numbers joined by such signs is right for one gold at most. A number written out has a last digit; 22/7 and
2\sqrt2 are exact and have none: they are the gold, or what a gold with a decimal point was rounded from. Only a number
alone, with its sign, its power of ten and its unit, counts as written out: of a sum or a product of decimals nobody
knows the last digit, and a guess could be stretched to cover any value.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.shapes import either, peel
from tbrm_bench.grading.numbers.exact import exact
from tbrm_bench.grading.read.tree import Tree, Written, number, walk
from tbrm_bench.grading.read.units import DEGREE, NO_UNIT, PERCENT, RADIAN

MAX_EXPONENT = 300  # of the last digit: beyond, a float is 0 or infinite
_NO_SCALE = (NO_UNIT, PERCENT, DEGREE, RADIAN)
_ANGLES = ("arcsin", "arccos", "arctan", "arccot")
_ROWS = ("br", "set", "list", "ratio", "mat")


def approximates(comparer: Compares, gold: Tree, sides: Sequence[Tree], verdicts: Sequence[bool | None]) -> bool | None:
    """Return whether a side is the gold and all others round to it, given how each compares; None while it is open."""
    if None in verdicts:
        return None
    sides = [_without_remark(side) for side in sides]
    first = next((unit for side in sides if (unit := peel(side)[1]) not in _NO_SCALE), None)
    is_bare = peel(gold)[1] == comparer.policy.unit == NO_UNIT
    equal = [
        side
        for side, is_equal in zip(sides, verdicts, strict=True)
        # Of 5 m and 500 cm the first says what a gold without a unit counts, else both 5 and 500 would be right.
        if is_equal and not (is_bare and peel(side)[1] not in (*_NO_SCALE, first))
    ]
    if not equal:
        return False
    golds = [gold, *(_in_unit_of(comparer, gold, side) for side in equal if is_bare)]
    others = [side for side in sides if side not in equal]
    fits = [_fits(comparer, golds, equal, side) for side in others]
    return False if False in fits else None if None in fits else True


def _without_remark(side: Tree) -> Tree:
    """Return 33 % for "33 % of the class": the words are no unit of it."""
    return side[1] if side[0] == "q" and side[1][0] == "q" and side[1][2] in (PERCENT, DEGREE) else side


def _in_unit_of(comparer: Compares, gold: Tree, side: Tree) -> Tree:
    """Return a bare gold with the unit of a side that equals it by its number: 35 is 35 % where 35 % is said."""
    value, unit = peel(side)
    return ("q", gold, unit) if unit != NO_UNIT and comparer.value(gold, value)[0] else gold


def _fits(comparer: Compares, golds: Sequence[Tree], equal: Sequence[Tree], side: Tree) -> bool | None:
    verdict: bool | None = False
    for gold in golds:
        verdict = either(verdict, comparer.item(gold, _as_angle(gold, side))[0])
        verdict = either(verdict, _is_rounded_from(comparer, gold, _as_angle(gold, side)))
    for anchor in (*golds, *equal):
        verdict = either(verdict, rounds_to(comparer, _as_angle(side, anchor), side))
    return verdict


def _as_angle(other: Tree, tree: Tree) -> Tree:
    """Return \\arctan\\frac34 in degrees where the other side is: an angle that carries no unit is in radians."""
    if peel(other)[1] != DEGREE or peel(tree)[1] != NO_UNIT:
        return tree
    if not any(part[0] == "f" and part[1] in _ANGLES for part in walk(tree)):
        return tree
    return ("q", ("/", ("*", number(180), tree), ("c", "pi")), DEGREE)


def rounds_to(comparer: Compares, exact_side: Tree, rounded: Tree) -> bool | None:
    """Return whether `exact_side`, rounded at the last digit of `rounded`, is `rounded`."""
    if rounded[0] in _ROWS:
        pairs = _entries(exact_side, rounded)
        verdicts = [either(comparer.item(*pair)[0], rounds_to(comparer, *pair)) for pair in pairs]
        return False if False in verdicts or not pairs else None if None in verdicts else True
    half = _half_unit(rounded)
    if half is None:
        return False
    unit = peel(exact_side)[1]
    if unit == NO_UNIT and comparer.policy.unit != NO_UNIT:
        exact_side = ("q", exact_side, comparer.policy.unit)
    if peel(rounded)[1] == DEGREE and unit != DEGREE and ("c", "pi") in walk(exact_side):
        half *= math.pi / 180  # these are compared in radians
    # The tolerance is meant for the scale of what is compared as the gold, here the rounded side.
    return comparer.within(half).item(rounded, exact_side)[0]


def _is_rounded_from(comparer: Compares, gold: Tree, side: Tree) -> bool | None:
    """Return whether a gold that has decimals is what an exact side rounds to: 2.83 from 2\\sqrt2."""
    half = _half_unit(gold)
    if half in (None, 0.5) or _half_unit(side) is not None or any(map(_is_decimal, walk(side))):
        return False
    assert half is not None
    return comparer.within(half).item(gold, side)[0]


def _entries(left: Tree, right: Tree) -> list[tuple[Tree, Tree]]:
    """Return the entries of two rows or matrices of one shape side by side; none if their shapes differ."""
    if left[0] != right[0] or left[0] not in _ROWS:
        return []
    if left[0] == "mat":
        if [len(row) for row in left[1]] != [len(row) for row in right[1]]:
            return []
        return [pair for rows in zip(left[1], right[1], strict=True) for pair in zip(*rows, strict=True)]
    skip = 3 if left[0] == "br" else 1  # its brackets
    return (
        list(zip(left[skip:], right[skip:], strict=True))
        if left[1:skip] == right[1:skip] and len(left) == len(right)
        else []
    )


def _half_unit(tree: Tree) -> float | None:
    """Return half a unit of the last digit of a number written out, on its own unit's scale; None for any other."""
    value, _ = peel(tree)
    if value[0] == "-":
        value = value[1]
    shift = 0
    if value[0] == "*" and len(value) == 3 and value[2][:2] == ("^", number(10)):
        power = exact(value[2][2])
        if power is None or power.denominator != 1:
            return None
        value, shift = value[1], int(power)
    if value[0] != "n" or not isinstance(value[1], Written) or abs(value[1].last + shift) > MAX_EXPONENT:
        return None
    return float(Fraction(10) ** (value[1].last + shift) / 2)


def _is_decimal(tree: Tree) -> bool:
    return tree[0] == "n" and isinstance(tree[1], Written) and tree[1].last != 0
