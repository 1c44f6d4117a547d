"""The value of a tree at a point, as a ball. Anything without one value there raises Undefined.

Roots of negative numbers are complex, except odd ones, which are real as in school; powers are principal values.
Degrees inside an expression are radians: tan 15^\\circ is 0.268.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

from tbrm_bench.grading.numbers.balls import (
    Ball,
    Field,
    NotReal,
    TooLarge,
    Undefined,
    add,
    divide,
    multiply,
    power,
    rounded,
)
from tbrm_bench.grading.numbers.elementary import apply
from tbrm_bench.grading.numbers.exact import canonical, exact, substituted
from tbrm_bench.grading.read.tree import Tree

Point = Mapping[str, Fraction]


def evaluate(tree: Tree, point: Point, field: Field) -> Ball:
    """Return the ball of a tree at a point (symbol -> value). Raises Undefined."""
    try:
        value, error = _evaluate(canonical(tree), point, field)  # every rational part of which is one number
    except OverflowError as problem:
        raise TooLarge(str(problem)) from problem
    except (ZeroDivisionError, ValueError) as problem:
        raise Undefined(str(problem)) from problem
    if not (abs(value) < math.inf and error < math.inf):
        raise Undefined("out of range")
    return value, error


def _evaluate(tree: Tree, point: Point, field: Field) -> Ball:
    kind = tree[0]
    if kind == "n":
        return rounded(field.real(tree[1]), field)
    if kind == "s":
        return rounded(field.real(point[tree[1]]), field)
    if kind == "c":
        return _constant(tree[1], field)
    if kind == "+":
        return add([_evaluate(part, point, field) for part in tree[1:]], field)
    if kind == "-":
        value, error = _evaluate(tree[1], point, field)
        return -value, error
    if kind == "*":
        total = _evaluate(tree[1], point, field)
        for part in tree[2:]:
            total = multiply(total, _evaluate(part, point, field), field)
        return total
    if kind == "/":
        return divide(_evaluate(tree[1], point, field), _evaluate(tree[2], point, field), field)
    if kind == "^":
        return _power(tree, point, field)
    if kind == "root":
        return _root(tree, point, field)
    if kind == "q":
        return _quantity(tree, point, field)
    if kind == "f":
        return apply(tree[1], [_evaluate(part, point, field) for part in tree[2:]], field)
    raise Undefined(kind)


def _constant(name: str, field: Field) -> Ball:
    if name == "i":
        return field.i, 0.0
    if name in ("pi", "e"):
        return rounded(field.pi if name == "pi" else field.e, field)
    raise Undefined(name)


def _power(tree: Tree, point: Point, field: Field) -> Ball:
    whole = exact(tree[2])
    if whole is None and point:
        whole = exact(substituted(tree[2], point))
    if whole is None:
        return power(_evaluate(tree[1], point, field), _evaluate(tree[2], point, field), field)
    base = (
        _product_under_root(tree[1], point, field) if whole.denominator % 2 == 0 else _evaluate(tree[1], point, field)
    )
    if whole.denominator == 1 and abs(whole) < 1000:
        return _whole_power(base, int(whole), field)
    exponent = (field.real(whole), 0.0 if whole.denominator == 1 else abs(float(whole)) * field.epsilon)
    if (
        field.is_real(base[0])
        and base[0] < 0
        and (whole.denominator == 1 or (field.real_only and whole.denominator % 2))
    ):
        value, error = power((-base[0], base[1]), exponent, field)
        return (-value if whole.numerator % 2 else value), error
    if abs(base[0]) <= base[1] and whole > 0:
        return _near_zero(base, 1 / whole)
    return power(base, exponent, field)


def _whole_power(base: Ball, count: int, field: Field) -> Ball:
    room = abs(base[0]) - base[1]
    if room <= 0:
        if count <= 0:
            raise Undefined("power of zero")
        return base[0] ** count, (abs(base[0]) + base[1]) ** count
    value = base[0] ** count
    growth = math.expm1(min(float(abs(count) * base[1] / room), 1.0))
    return value, abs(value) * (growth * 1.01 + abs(count) * field.epsilon)


def _near_zero(base: Ball, degree: Fraction) -> Ball:
    """Return a root of what may be zero."""
    if base[1] == 0:
        return base
    return base[0] * 0, float(abs(base[0]) + base[1]) ** (1 / float(degree)) if degree > 0 else math.inf


def _product_under_root(tree: Tree, point: Point, field: Field) -> Ball:
    """Return what an even root is taken of. On the real line each of several factors is positive, not two negative.

    Whoever writes \\sqrt{h/g} means positive numbers, and may write \\frac{\\sqrt{gh}}{g} for it.
    """
    if tree[0] != "*" or not field.real_only:
        return _evaluate(tree, point, field)
    factors = [_evaluate(part, point, field) for part in tree[1:]]
    named = factors[1:] if tree[1][0] == "n" else factors
    is_positive = tree[1][0] != "n" or tree[1][1] > 0
    if is_positive and len(named) > 1 and any(value < 0 for value, _ in named):
        raise NotReal("root of a product of negative numbers")
    total = factors[0]
    for factor in factors[1:]:
        total = multiply(total, factor, field)
    return total


def _root(tree: Tree, point: Point, field: Field) -> Ball:
    degree = exact(tree[2])
    if degree is None:
        inverse = divide((field.real(Fraction(1)), 0.0), _evaluate(tree[2], point, field), field)
        return power(_evaluate(tree[1], point, field), inverse, field)
    if degree == 0:
        raise Undefined("root of degree 0")
    is_odd = degree.denominator == 1 and degree.numerator % 2 == 1
    base = _evaluate(tree[1], point, field) if is_odd else _product_under_root(tree[1], point, field)
    if abs(base[0]) <= base[1]:
        return _near_zero(base, degree)
    exponent = (field.real(1 / degree), abs(1 / float(degree)) * field.epsilon)
    if field.is_real(base[0]) and base[0] < 0 and is_odd:
        value, error = power((-base[0], base[1]), exponent, field)
        return -value, error
    return power(base, exponent, field)


def _quantity(tree: Tree, point: Point, field: Field) -> Ball:
    ball = _evaluate(tree[1], point, field)
    if tree[2][0] == (("angle", 1),):
        radians = field.pi / 180 * field.real(tree[2][1])
        return multiply(ball, rounded(radians, field), field)
    if tree[2][0] == (("percent", 1),):
        return multiply(ball, rounded(field.real(tree[2][1]), field), field)
    raise Undefined("unit")
