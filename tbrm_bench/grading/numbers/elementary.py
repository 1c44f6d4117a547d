"""Functions of balls: trigonometry, logarithms, factorials, floor and ceiling.

A function's error is its argument's error times its slope, twice, plus its own rounding. Floor and ceiling are defined
where the whole ball lies between two integers. Example: sin of (pi, 4e-16) is (1e-16, 9e-16), which may be 0.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tbrm_bench.grading.limits import MAX_ANGLE, MAX_GAMMA
from tbrm_bench.grading.numbers.balls import Ball, Field, TooLarge, Undefined, add, divide, multiply, principal_log

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


def apply(name: str, balls: Sequence[Ball], field: Field) -> Ball:
    """Return the ball of a function's value. Raises Undefined at poles, and for a name without a value."""
    if name in _DERIVATIVES:
        return _elementary(name, balls[0], field)
    if name in _RECIPROCALS:
        one = (field.real(Fraction(1)), 0.0)
        return divide(one, _elementary(_RECIPROCALS[name], balls[0], field), field)
    if name == "arccot":
        return _elementary("arctan", divide((field.real(Fraction(1)), 0.0), balls[0], field), field)
    if name == "ln":
        return natural_log(balls[0], field)
    if name == "log":
        return divide(natural_log(balls[0], field), natural_log(balls[1], field), field)
    if name == "abs":
        return abs(balls[0][0]), balls[0][1]
    if name in ("floor", "ceil"):
        return _rounding(name, balls[0], field)
    if name == "fact":
        return _factorial(balls[0], field)
    if name == "binom":
        difference = add([balls[0], (-balls[1][0], balls[1][1])], field)
        below = multiply(_factorial(balls[1], field), _factorial(difference, field), field)
        return divide(_factorial(balls[0], field), below, field)
    if name in ("max", "min") and all(field.is_real(value) for value, _ in balls):
        chosen = max(balls) if name == "max" else min(balls)
        return chosen[0], max(error for _, error in balls)
    raise Undefined(name)


def _elementary(name: str, ball: Ball, field: Field) -> Ball:
    argument, error = ball
    if abs(argument) > MAX_ANGLE:  # its digits behind the point would cost as many digits before it
        raise TooLarge("angle")
    value = getattr(field.functions, _LIBRARY_NAMES.get(name, name))(argument)
    if field.is_real(argument) and not value.imag:
        value = value.real
    own = abs(value) * field.epsilon
    if not error:
        return value, own
    slope = abs(_DERIVATIVES[name](field.functions, argument, value))
    return value, 2 * slope * error + 10 * (1 + slope**3) * error * error + own


def natural_log(ball: Ball, field: Field) -> Ball:
    """Return the principal logarithm of a ball; raises Undefined if the ball holds zero."""
    room = abs(ball[0]) - ball[1]
    if room <= 0:
        raise Undefined("logarithm of zero")
    value = principal_log(ball[0], field)
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
