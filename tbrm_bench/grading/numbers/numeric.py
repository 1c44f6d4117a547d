"""Are two expressions equal? By exact value, by one canonical form, by remainders, then by their values at points.

Rational functions and whole numbers of any size are decided by their remainders (see `residues`). The last step
compares balls (see `balls`) at the points of `points`. Balls that do not meet prove the expressions different. Balls of
60 digits that meet at every point are taken as equality; a ball wider than 1e-45 says nothing, so that of two huge
numbers with the same first digits more are computed.

An expression is real where each step of it is real, and two expressions are compared where both are: \\ln(ab) and
\\ln a + \\ln b for positive a and b. Where only one is, they are compared in complex numbers for positive letters, not
at all for others; but where an absolute value, a maximum or a minimum asks for the sign, they are different: \\ln|x| is
not \\ln x. What is never real, or has i in it, is compared in complex numbers.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from tbrm_bench.grading.limits import MAX_COMPUTED_DIGITS, MAX_SYMBOLS
from tbrm_bench.grading.numbers.balls import (
    FLOATS,
    REAL_FLOATS,
    Ball,
    Field,
    NotReal,
    TooLarge,
    Undefined,
    precise_field,
)
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.exact import canonical, exact, substituted
from tbrm_bench.grading.numbers.points import (
    Domain,
    Point,
    domain_of,
    drawn_points,
    first_points,
    scanned_points,
)
from tbrm_bench.grading.numbers.residues import is_quick, proportional_residues, same_residues
from tbrm_bench.grading.read.tree import Tree, symbols

NUM_POINTS = 5  # at which both expressions must be defined and meet
NUM_EXACT_POINTS = 12  # where a step is: integers of many sizes
FLOAT_POINTS = 2
NUM_SCANNED = 120  # drawn points of a scan on floats, beside the breakpoints
DIGITS = (60, 400)
SMALL = 1e-45  # the error that balls may have to count as meeting

_CONJUGATE = re.compile(r"(?:bar|overline)\(([zw](?:_\w+)?)\)")

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
    left, right, domain = _with_complex_letters(left, right)
    if len(domain.names) > MAX_SYMBOLS:
        return False, "too_many_symbols"
    verdict, rule = _meet_on_floats(left, right, domain)
    if verdict is None and domain.names and is_quick(left, right):
        same = same_residues(left, right)
        return (verdict, rule) if same is None else (same, "numeric")
    return verdict, rule


def equal_precise(left: Tree, right: Tree) -> Verdict:
    """Return (equal, rule); None only where the expressions have no value that we can compute. For workers."""
    verdict, rule = equal_fast(left, right)
    if verdict is not None:
        return verdict, rule
    if (same := same_residues(left, right)) is not None:
        return same, "numeric"
    left, right, domain = _with_complex_letters(left, right)
    if domain.names and _differ_in_scan(left, right, domain):
        return False, "numeric"
    if not domain.is_complex:
        verdict, rule = _meet_precisely(left, right, domain, real_only=True)
    if verdict is None:
        verdict, rule = _meet_precisely(left, right, domain._replace(signed=domain.folds), real_only=False)
    return verdict, rule


def has_value(tree: Tree) -> Verdict:
    """Return (True, rule) for an expression with values at the points where it is compared, else (None, rule)."""
    verdict, rule = _meet_precisely(tree, tree, domain_of(tree, tree), real_only=False)
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
    if symbols(left) != symbols(right):
        return False, "equation"
    if (precise or is_quick(left, right)) and (same := proportional_residues(left, right)) is not None:
        return same, "equation"
    domain = domain_of(left, right)
    for real_only in (False,) if domain.is_complex else (True, False):
        verdict = _same_ratio(left, right, domain, precise=precise, real_only=real_only)
        if verdict is not None:
            return verdict, "equation"
        if not precise:
            return None, "equation"
    return None, "undefined"


def _same_ratio(left: Tree, right: Tree, domain: Domain, *, precise: bool, real_only: bool) -> bool | None:
    field = _precise(DIGITS[0], real_only=real_only) if precise else _floats(real_only=real_only)
    wanted = NUM_EXACT_POINTS if precise else FLOAT_POINTS
    ratios: list[Ball] = []
    for point in drawn_points(left, right, domain) if precise else first_points(domain):
        try:
            above, below = (_value(tree, point, field, domain) for tree in (left, right))
        except Undefined:
            continue
        if abs(above[0]) <= above[1] or abs(below[0]) <= below[1]:
            continue
        ratio = above[0] / below[0]
        ratios.append((ratio, abs(ratio) * (above[1] / abs(above[0]) + below[1] / abs(below[0])) * 2))
        if abs(ratios[0][0] - ratio) > ratios[0][1] + ratios[-1][1]:
            return False
        if len(ratios) == wanted:
            break
    return True if precise and len(ratios) >= NUM_POINTS else None


@cache
def _precise(digits: int, *, real_only: bool) -> Field:
    return precise_field(digits, real_only=real_only)


def _floats(*, real_only: bool) -> Field:
    return REAL_FLOATS if real_only else FLOATS


def _value(tree: Tree, point: Point, field: Field, domain: Domain) -> Ball:
    return evaluate(substituted(tree, point), {}, field) if domain.exactly and point else evaluate(tree, point, field)


def _with_complex_letters(left: Tree, right: Tree) -> tuple[Tree, Tree, Domain]:
    """Return both with z and w as complex numbers where a real part, or with no other letter |z|, makes them so."""
    domain = domain_of(left, right)
    if domain.ordered or not (domain.names and (domain.folds or domain.parts_of_complex)):
        return left, right, domain
    letters = {name: _CONJUGATE.sub(r"\1", name) for name in domain.names}
    chosen = [name for name, letter in letters.items() if letter[0] in "zw"]
    if not chosen or not (domain.parts_of_complex or len(chosen) == len(letters)):
        return left, right, domain
    parts: dict[str, Tree] = {}
    for name in chosen:
        imaginary: Tree = ("*", ("c", "i"), ("s", f"{letters[name]}_imaginary"))
        parts[name] = ("+", ("s", letters[name]), imaginary if name == letters[name] else ("-", imaginary))
    left, right = substituted(left, parts), substituted(right, parts)
    return left, right, domain_of(left, right)


def _meet_on_floats(gold: Tree, pred: Tree, domain: Domain) -> Verdict:
    """Return False where floats prove a difference, else None with the reason."""
    for real_only in (False,) if domain.is_complex else (True, False):
        verdict, rule = _meet(gold, pred, first_points(domain), _floats(real_only=real_only), domain, FLOAT_POINTS)
        if rule != "not_real":
            return (False, rule) if verdict is False else (None, rule)
    return None, "undefined"


def _differ_in_scan(gold: Tree, pred: Tree, domain: Domain) -> bool:
    """Return whether floats prove a difference at one of many points; only where a side may change its formula."""
    if not (domain.exactly or domain.folds or domain.roots):
        return False
    field = _floats(real_only=not domain.is_complex)
    points = scanned_points(gold, pred, domain, NUM_SCANNED if domain.exactly or domain.folds else NUM_POINTS)
    return _meet(gold, pred, points, field, domain, -1)[0] is False


def _meet_precisely(gold: Tree, pred: Tree, domain: Domain, *, real_only: bool) -> Verdict:
    wanted = NUM_EXACT_POINTS if domain.exactly else NUM_POINTS
    verdict: bool | None = None
    rule, digits = "undefined", [*DIGITS]
    for count in digits:
        field = _precise(count, real_only=real_only)
        verdict, rule = _meet(gold, pred, drawn_points(gold, pred, domain), field, domain, wanted)
        if verdict is not None or rule == "not_real":
            break
        if count == DIGITS[-1] and not domain.names and (needed := _digits_needed(gold, pred, field)):
            digits.append(needed)
    return verdict, rule if rule != "not_real" else "undefined"


def _digits_needed(gold: Tree, pred: Tree, field: Field) -> int | None:
    """Return how many digits two numbers are long, with some behind the point; None if too many."""
    try:
        balls = [evaluate(tree, {}, field) for tree in (gold, pred)]
        needed = int(max(float(field.functions.log10(abs(value) + 1)) for value, _ in balls)) + DIGITS[0]
    except (Undefined, OverflowError):
        return None
    return needed if DIGITS[-1] < needed <= MAX_COMPUTED_DIGITS else None


def _meet(gold: Tree, pred: Tree, points: Iterable[Point], field: Field, domain: Domain, wanted: int) -> Verdict:
    """Compare at points, until `wanted` of them met.

    Rules: numeric; undefined (neither has a value); not_real; no_value (only the gold has one); too_large.
    """
    met = _Met()
    for point in points:
        first, second = met.values(gold, pred, point, field, domain)
        if met.is_real_alone and domain.folds:
            return False, "numeric"
        if met.is_real_alone and all(value > 0 for value in point.values()):
            first, second = met.values(gold, pred, point, replace(field, real_only=False), domain)
        if first is None or second is None:
            continue
        if abs(first[0] - second[0]) > first[1] + second[1]:
            return False, "numeric"
        if field.epsilon > SMALL or first[1] + second[1] <= SMALL:
            met.num_met += 1
        else:
            met.reason = "too_large"
        if met.num_met == wanted or not domain.names:
            break
    if met.num_met and (met.num_met >= wanted > 0 or not domain.names):
        return (True if field.epsilon < SMALL else None), "numeric"
    if met.num_without and not met.num_met and field.epsilon < SMALL:
        return False, "no_value"
    return None, met.reason


class _Met:
    """What a comparison at points has seen."""

    def __init__(self) -> None:
        self.num_met = 0
        self.num_without = 0  # points where only the gold has a value
        self.reason = "not_real"
        self.is_real_alone = False  # whether one side is real, and the other one is not, at the last point

    def values(
        self, gold: Tree, pred: Tree, point: Point, field: Field, domain: Domain
    ) -> tuple[Ball | None, Ball | None]:
        """Return both values at a point; None for a side without one."""
        found: list[Any] = []
        for tree in (gold, pred):
            try:
                found.append(_value(tree, point, field, domain))
            except Undefined as problem:
                found.append(problem)
        problems = [part for part in found if isinstance(part, Undefined)]
        not_real = [part for part in problems if isinstance(part, NotReal)]
        self.is_real_alone = len(problems) == len(not_real) == 1
        if problems and len(not_real) < len(problems):
            self.reason = "too_large" if any(isinstance(part, TooLarge) for part in problems) else "undefined"
            self.num_without += int(len(problems) == 1 and problems[0] is found[1])
        first, second = (None if isinstance(part, Undefined) else part for part in found)
        return first, second
