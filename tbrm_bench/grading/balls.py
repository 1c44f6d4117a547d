"""Values with a bound on their error: what two expressions differ by is told from what rounding does to them.

A ball (value, error) holds the true value: |true - value| <= error. Two balls that do not meet prove that two values
differ; two tiny balls that meet at a hundred digits, at several points, are taken as equality. The same rules run on
floats (in microseconds, and only ever to prove a difference) and on mpmath's numbers (in a worker).

Example: sqrt(2) sqrt(3) - sqrt(6) gives (4e-16, 9e-16) on floats: it may be 0; 10^{-30} against 10^{-31} is told apart.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tbrm_bench.grading.exact import exact
from tbrm_bench.grading.limits import MAX_GAMMA, MAX_LOG
from tbrm_bench.grading.tree import Tree

Ball = tuple[Any, Any]  # a float, complex, mpf or mpc; a float or mpf
Point = Mapping[str, Fraction]


class Undefined(Exception):
    """No value here: a pole, a number out of range, a shape that has no value."""


class TooLarge(Undefined):
    """There is a value, but it is beyond what we compute with."""


@dataclass(frozen=True)
class Field:
    """The arithmetic that balls are computed in."""

    epsilon: Any  # relative error of one operation
    real: Callable[[Fraction], Any]
    is_real: Callable[[Any], bool]
    pi: Any
    e: Any
    i: Any
    functions: Any  # exp, log, sin, ... of complex numbers: cmath, or an mpmath context
    gamma: Callable[[Any], Any]
    max_log: float


def _float_of(value: Fraction) -> float:
    return value.numerator / value.denominator


FLOATS = Field(
    epsilon=2.0**-50,
    real=_float_of,
    is_real=lambda value: not isinstance(value, complex),
    pi=math.pi,
    e=math.e,
    i=1j,
    functions=cmath,
    gamma=math.gamma,
    max_log=600.0,
)


def evaluate(tree: Tree, point: Point, field: Field) -> Ball:
    """Return the ball of a tree at a point (symbol -> value). Raises Undefined."""
    try:
        value, error = _evaluate(tree, point, field)
    except OverflowError as problem:
        raise TooLarge(str(problem)) from problem
    except (ZeroDivisionError, ValueError) as problem:
        raise Undefined(str(problem)) from problem
    if not (abs(value) < math.inf and error < math.inf):
        raise Undefined("out of range")
    return value, error


def _evaluate(tree: Tree, point: Point, field: Field) -> Ball:
    value = exact(tree)
    if value is not None:
        return _rounded(field.real(value), field)
    kind = tree[0]
    if kind == "s":
        return _rounded(field.real(point[tree[1]]), field)
    if kind == "c":
        return _constant(tree[1], field)
    if kind == "+":
        return _sum([_evaluate(part, point, field) for part in tree[1:]], field)
    if kind == "-":
        value, error = _evaluate(tree[1], point, field)
        return -value, error
    if kind == "*":
        total = _evaluate(tree[1], point, field)
        for part in tree[2:]:
            total = _product(total, _evaluate(part, point, field), field)
        return total
    if kind == "/":
        return _quotient(_evaluate(tree[1], point, field), _evaluate(tree[2], point, field), field)
    if kind == "^":
        return _power(tree, point, field)
    if kind == "root":
        return _root(tree, point, field)
    if kind == "q":
        return _quantity(tree, point, field)
    if kind == "f":
        return _function(tree, point, field)
    raise Undefined(kind)


def _rounded(value: Any, field: Field) -> Ball:
    return value, abs(value) * field.epsilon


def _constant(name: str, field: Field) -> Ball:
    if name == "i":
        return field.i, 0.0
    if name in ("pi", "e"):
        return _rounded(field.pi if name == "pi" else field.e, field)
    raise Undefined(name)


def _sum(balls: list[Ball], field: Field) -> Ball:
    total = balls[0][0]
    error, size = balls[0][1], abs(total)
    for value, own in balls[1:]:
        total = total + value
        error = error + own
        size = size + abs(value)
    return total, error + size * field.epsilon * len(balls)


def _product(left: Ball, right: Ball, field: Field) -> Ball:
    value = left[0] * right[0]
    return value, abs(left[0]) * right[1] + abs(right[0]) * left[1] + left[1] * right[1] + abs(value) * field.epsilon


def _quotient(above: Ball, below: Ball, field: Field) -> Ball:
    room = abs(below[0]) - below[1]
    if room <= 0:
        raise Undefined("division by zero")
    value = above[0] / below[0]
    return value, (above[1] + abs(value) * below[1]) / room + abs(value) * field.epsilon


def _power(tree: Tree, point: Point, field: Field) -> Ball:
    base = _evaluate(tree[1], point, field)
    whole = exact(tree[2])
    if whole is None and tree[2][0] == "s":
        whole = point[tree[2][1]]
    if whole is not None and whole.denominator == 1 and abs(whole) < 1000:
        count = int(whole)
        room = abs(base[0]) - base[1]
        if room <= 0:
            if count <= 0:
                raise Undefined("power of zero")
            return base[0] ** count, (abs(base[0]) + base[1]) ** count
        value = base[0] ** count
        growth = math.expm1(min(float(abs(count) * base[1] / room), 1.0))
        return value, abs(value) * (growth * 1.01 + abs(count) * field.epsilon)
    return _general_power(base, _evaluate(tree[2], point, field), field)


def _general_power(base: Ball, exponent: Ball, field: Field) -> Ball:
    room = abs(base[0]) - base[1]
    if room <= 0:
        raise Undefined("power of zero")
    logarithm = _logarithm(base[0], field)
    inner = exponent[0] * logarithm
    if abs(inner) > field.max_log:
        raise TooLarge("power")
    error = abs(exponent[0]) * (base[1] / room + abs(logarithm) * field.epsilon)
    error = error + abs(logarithm) * exponent[1] + abs(inner) * field.epsilon
    if error > 1:
        raise Undefined("imprecise")
    value = _exponential(inner, field)
    return value, abs(value) * (error * 2 + field.epsilon)


def _logarithm(value: Any, field: Field) -> Any:
    if field.is_real(value) and value > 0:
        return _real_part(field.functions.log(value), field)
    # Zero imaginary parts of either sign mean the same number; the principal branch is the one with +pi.
    value = value + 0j if field.is_real(value) else complex_with_plus_zero(value)
    return field.functions.log(value)


def complex_with_plus_zero(value: Any) -> Any:
    """Return a complex number whose zero imaginary part, if any, is positive."""
    return value if value.imag else value.real + 0j


def _exponential(value: Any, field: Field) -> Any:
    result = field.functions.exp(value)
    return _real_part(result, field) if field.is_real(value) else result


def _real_part(value: Any, field: Field) -> Any:
    return value if field.is_real(value) else value.real


def _root(tree: Tree, point: Point, field: Field) -> Ball:
    base, degree = _evaluate(tree[1], point, field), exact(tree[2])
    if degree is None:
        return _general_power(
            base, _quotient((field.real(Fraction(1)), 0.0), _evaluate(tree[2], point, field), field), field
        )
    if degree == 0:
        raise Undefined("root of degree 0")
    if abs(base[0]) <= base[1]:
        if base[1] == 0:
            return base
        return base[0] * 0, float(abs(base[0]) + base[1]) ** (1 / float(degree)) if degree > 0 else math.inf
    exponent = (field.real(1 / degree), abs(1 / float(degree)) * field.epsilon)
    if field.is_real(base[0]) and base[0] < 0 and degree.denominator == 1 and degree.numerator % 2:
        value, error = _general_power((-base[0], base[1]), exponent, field)
        return -value, error
    return _general_power(base, exponent, field)


def _quantity(tree: Tree, point: Point, field: Field) -> Ball:
    ball = _evaluate(tree[1], point, field)
    if tree[2][0] == (("angle", 1),):
        radians = field.pi / 180 * field.real(tree[2][1])
        return _product(ball, _rounded(radians, field), field)
    if tree[2][0] == (("percent", 1),):
        return _product(ball, _rounded(field.real(tree[2][1]), field), field)
    raise Undefined("unit")


# The size of each function's derivative, given argument and value.
_DERIVATIVES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sin": lambda lib, x, y: lib.cos(x),
    "cos": lambda lib, x, y: lib.sin(x),
    "tan": lambda lib, x, y: 1 + y * y,
    "sinh": lambda lib, x, y: lib.cosh(x),
    "cosh": lambda lib, x, y: lib.sinh(x),
    "tanh": lambda lib, x, y: 1 - y * y,
    "arcsin": lambda lib, x, y: 1 / lib.sqrt(1 - x * x),
    "arccos": lambda lib, x, y: 1 / lib.sqrt(1 - x * x),
    "arctan": lambda lib, x, y: 1 / (1 + x * x),
}
_LIBRARY_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_RECIPROCALS = {"cot": "tan", "sec": "cos", "csc": "sin"}


def _function(tree: Tree, point: Point, field: Field) -> Ball:
    name = tree[1]
    balls = [_evaluate(part, point, field) for part in tree[2:]]
    if name in _DERIVATIVES:
        return _elementary(name, balls[0], field)
    if name in _RECIPROCALS:
        one = (field.real(Fraction(1)), 0.0)
        return _quotient(one, _elementary(_RECIPROCALS[name], balls[0], field), field)
    if name == "arccot":
        return _elementary("arctan", _quotient((field.real(Fraction(1)), 0.0), balls[0], field), field)
    if name == "ln":
        return _natural_log(balls[0], field)
    if name == "log":
        return _quotient(_natural_log(balls[0], field), _natural_log(balls[1], field), field)
    if name == "abs":
        return abs(balls[0][0]), balls[0][1]
    if name in ("floor", "ceil"):
        return _rounding(name, balls[0], field)
    if name == "fact":
        return _factorial(balls[0], field)
    if name == "binom":
        difference = _sum([balls[0], (-balls[1][0], balls[1][1])], field)
        below = _product(_factorial(balls[1], field), _factorial(difference, field), field)
        return _quotient(_factorial(balls[0], field), below, field)
    if name in ("max", "min") and all(field.is_real(value) for value, _ in balls):
        chosen = max(balls) if name == "max" else min(balls)
        return chosen[0], max(error for _, error in balls)
    raise Undefined(name)


def _elementary(name: str, ball: Ball, field: Field) -> Ball:
    argument, error = ball
    value = getattr(field.functions, _LIBRARY_NAMES.get(name, name))(argument)
    if field.is_real(argument) and not value.imag:
        value = value.real
    own = abs(value) * field.epsilon
    if not error:
        return value, own
    slope = abs(_DERIVATIVES[name](field.functions, argument, value))
    return value, 2 * slope * error + 10 * (1 + slope**3) * error * error + own


def _natural_log(ball: Ball, field: Field) -> Ball:
    room = abs(ball[0]) - ball[1]
    if room <= 0:
        raise Undefined("logarithm of zero")
    value = _logarithm(ball[0], field)
    return value, ball[1] / room + abs(value) * field.epsilon


def _rounding(name: str, ball: Ball, field: Field) -> Ball:
    value, error = ball
    if not field.is_real(value):
        raise Undefined("floor of a complex number")
    rounding = math.floor if name == "floor" else math.ceil
    low, high = int(rounding(value - error)), int(rounding(value + error))
    if low != high:
        raise Undefined("floor of a value too near to an integer")
    return field.real(Fraction(low)), 0.0


def _factorial(ball: Ball, field: Field) -> Ball:
    argument, error = ball
    if not field.is_real(argument):
        raise Undefined("factorial of a complex number")
    if abs(argument) > MAX_GAMMA:
        raise TooLarge("factorial")
    value = field.gamma(argument + 1)
    slope = abs(value) * (math.log(abs(float(argument)) + 2) + 1)
    return value, 2 * slope * error + abs(value) * field.epsilon * 8


def precise_field(digits: int) -> Field:
    """Return the arithmetic of mpmath at so many digits, with ten more for rounding. Imports mpmath."""
    import mpmath

    context = mpmath.MPContext()
    context.dps = digits + 10
    return Field(
        epsilon=context.mpf(10) ** -digits,
        real=lambda value: context.mpf(value.numerator) / value.denominator,
        is_real=lambda value: isinstance(value, (int, float, context.mpf)),
        pi=+context.pi,
        e=+context.e,
        i=context.mpc(0, 1),
        functions=context,
        gamma=context.gamma,
        max_log=MAX_LOG,
    )
