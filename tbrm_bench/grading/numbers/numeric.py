"""Are two expressions equal? By exact value, by one canonical form, then by their values at points.

The last step compares balls (see `balls`) at deterministic points, one per symbol and round. Balls that do not meet
prove the expressions different. Balls of 60 digits that meet at every point are taken as equality.

Symbols stand for positive numbers, as they do in physics and in most answers: \\sqrt{a^2} is a. Where an absolute value
stands, for numbers of either sign; where a floor, a ceiling, a factorial, a binomial or (-1)^n stands, for positive
integers.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache

from tbrm_bench.grading.limits import MAX_SYMBOLS
from tbrm_bench.grading.numbers.balls import FLOATS, Field, TooLarge, Undefined, precise_field
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.residues import same_residues
from tbrm_bench.grading.read.tree import Tree, symbols, walk

NUM_POINTS = 5  # at which both expressions must be defined and meet
NUM_TRIALS = 24
FLOAT_POINTS = 2
DIGITS = (60, 400)
SMALL = 1e-25  # the error that balls may have, relative to max(1, value), to count as meeting

Verdict = tuple[bool | None, str]


@lru_cache(maxsize=65536)
def equal_fast(left: Tree, right: Tree) -> Verdict:
    """Return (equal, rule) with what costs microseconds; None where only a worker can tell."""
    first, second = exact(left), exact(right)
    if first is not None and second is not None:
        integral = first.denominator == second.denominator == 1
        return first == second, "integer" if integral else "rational"
    if canonical(left) == canonical(right):
        return True, "same"
    return _meet(left, right, FLOATS, FLOAT_POINTS)


def equal_precise(left: Tree, right: Tree) -> Verdict:
    """Return (equal, rule); None only where the expressions have no value that we can compute. For workers."""
    verdict, rule = equal_fast(left, right)
    if verdict is not None:
        return verdict, rule
    if (same := same_residues(left, right)) is not None:
        return same, "numeric"
    for digits in DIGITS:
        verdict, rule = _meet(left, right, _precise(digits), NUM_POINTS)
        if verdict is not None:
            break
    return verdict, rule


def has_value(tree: Tree) -> Verdict:
    """Return (True, rule) for an expression with values at the points where it is compared, else (None, rule)."""
    verdict, rule = _meet(tree, tree, _precise(DIGITS[0]), NUM_POINTS)
    return verdict if rule != "undefined" else None, rule


def within(left: Tree, gold: Tree, *, absolute: float, relative: float, field: Field | None = None) -> bool | None:
    """Return whether |left - gold| <= max(absolute, relative * |gold|); None if one has no value."""
    first, second = exact(left), exact(gold)
    if first is not None and second is not None:
        return abs(first - second) <= max(Fraction(str(absolute)), Fraction(str(relative)) * abs(second))
    try:
        value, target = evaluate(left, {}, field or FLOATS)[0], evaluate(gold, {}, field or FLOATS)[0]
    except (Undefined, KeyError):
        return None
    return bool(abs(value - target) <= max(absolute, relative * abs(target)))


def proportional(left: Tree, right: Tree, *, precise: bool) -> Verdict:
    """Return whether left = c * right for one constant c != 0; then left = 0 and right = 0 are one equation."""
    if canonical(left) == canonical(right):
        return True, "equation"
    names = sorted(symbols(left) | symbols(right))
    if symbols(left) != symbols(right):
        return False, "equation"
    field = _precise(DIGITS[0]) if precise else FLOATS
    ratios = []
    for point in _points(left, right, names):
        try:
            above, below = evaluate(left, point, field), evaluate(right, point, field)
        except Undefined:
            continue
        if abs(above[0]) <= above[1] or abs(below[0]) <= below[1]:
            continue
        ratio = above[0] / below[0]
        ratios.append((ratio, abs(ratio) * (above[1] / abs(above[0]) + below[1] / abs(below[0])) * 2))
        if abs(ratios[0][0] - ratio) > ratios[0][1] + ratios[-1][1]:
            return False, "equation"
        if len(ratios) == (NUM_POINTS if precise else FLOAT_POINTS):
            break
    if len(ratios) < 2:
        return None, "undefined"
    return (True if precise else None), "equation"


@cache
def _precise(digits: int) -> Field:
    return precise_field(digits)


def _meet(gold: Tree, pred: Tree, field: Field, num_points: int) -> Verdict:
    """Compare at points. Rules: numeric; undefined (neither has a value); no_value (only the gold has); too_large."""
    names = sorted(symbols(gold) | symbols(pred))
    if len(names) > MAX_SYMBOLS:
        return False, "too_many_symbols"
    num_met = num_without = 0
    reason = "undefined"
    for point in _points(gold, pred, names):
        try:
            first = evaluate(gold, point, field)
        except Undefined as problem:
            reason = "too_large" if isinstance(problem, TooLarge) else reason
            continue
        try:
            second = evaluate(pred, point, field)
        except Undefined:
            num_without += 1
            continue
        if abs(first[0] - second[0]) > first[1] + second[1]:
            return False, "numeric"
        if field is FLOATS or first[1] + second[1] <= SMALL * max(1.0, abs(first[0])):
            num_met += 1
        if num_met == num_points or not names:
            break
    if field is FLOATS:
        return None, reason
    if num_met == num_points or (num_met == 1 and not names):
        return True, "numeric"
    return (False, "no_value") if num_without and not num_met else (None, reason)


def _points(left: Tree, right: Tree, names: list[str]) -> Iterator[dict[str, Fraction]]:
    if not names:
        yield {}
        return
    parts = [*walk(left), *walk(right)]
    integers = any(_asks_for_integers(part) for part in parts)
    signed = any(part[:2] == ("f", "abs") for part in parts)
    for trial in range(NUM_TRIALS):
        yield {name: _coordinate(name, trial, integers=integers, signed=signed) for name in names}


def _asks_for_integers(part: Tree) -> bool:
    if part[0] == "f" and part[1] in ("floor", "ceil", "fact", "binom"):
        return True
    if part[0] == "^" and symbols(part[2]):
        base = exact(part[1])
        return base is not None and base < 0
    return False


def _coordinate(name: str, trial: int, *, integers: bool, signed: bool) -> Fraction:
    noise = int.from_bytes(hashlib.blake2b(f"{trial}\x1f{name}".encode(), digest_size=4).digest(), "big")
    if integers:
        return Fraction(noise % (4 + 2 * trial) + 1)
    value = Fraction(noise % 4093 + 300, 1400)  # from 0.2 to 3.1
    return -value if signed and noise & 4096 else value
