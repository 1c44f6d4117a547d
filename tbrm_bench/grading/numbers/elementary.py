"""Functions of balls: trigonometry, logarithms, factorials, floor and ceiling.

A function's error is its argument's error times its slope, twice, plus its own rounding. Floor and ceiling are defined
where the whole ball lies between two integers. Example: sin of (pi, 4e-16) is (1e-16, 9e-16), which may be 0.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tbrm_bench.grading.limits import MAX_ANGLE, MAX_GAMMA
from tbrm_bench.grading.numbers.balls import (
    Ball,
    Field,
    NotReal,
    TooLarge,
    Undefined,
    add,
    divide,
    multiply,
    principal_log,
)

# The size of each function's derivative, given argument and value.
_DERIVATIVES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sin": lambda lib, x, y: lib.cos(x),
    "cos": lambda lib, x, y: lib.sin(x),
    "sinh": lambda lib, x, y: lib.cosh(x),
    "cosh": lambda lib, x, y: lib.sinh(x),
    "tanh": lambda lib, x, y: 1 - y * y,
    "arcsin": lambda lib, x, y: 1 / lib.sqrt(1 - x * x),
    "arccos": lambda lib, x, y: 1 / lib.sqrt(1 - x * x),
    "arctan": lambda lib, x, y: 1 / (1 + x * x),
    "arcsinh": lambda lib, x, y: 1 / lib.sqrt(1 + x * x),
    "arccosh": lambda lib, x, y: 1 / lib.sqrt(x * x - 1),
    "arctanh": lambda lib, x, y: 1 / (1 - x * x),
}
_LIBRARY_NAMES = {
    **{"arcsin": "asin", "arccos": "acos", "arctan": "atan"},
    **{"arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh"},
}
_ENTIRE = frozenset(("sin", "cos", "sinh", "cosh"))  # whose second derivative is no larger than value and slope
# A quotient has a value where its divisor is not 0, also where the function that it is named after has a pole.
_QUOTIENTS = {
    **{"tan": ("sin", "cos"), "cot": ("cos", "sin"), "sec": ("", "cos"), "csc": ("", "sin")},
    **{"coth": ("cosh", "sinh"), "sech": ("", "cosh"), "csch": ("", "sinh")},
}
_OF_RECIPROCAL = {"arcsec": "arccos", "arccsc": "arcsin", "arccoth": "arctanh", "arcsech": "arccosh"} | {
    "arccsch": "arcsinh"
}


def apply(name: str, balls: Sequence[Ball], field: Field) -> Ball:
    """Return the ball of a function's value. Raises Undefined at poles, and for a name without a value."""
    if name in _DERIVATIVES:
        return _elementary(name, balls[0], field)
    if name in _QUOTIENTS:
        above, below = _QUOTIENTS[name]
        return divide(
            _elementary(above, balls[0], field) if above else _one(field), _elementary(below, balls[0], field), field
        )
    if name in _OF_RECIPROCAL:
        return _elementary(_OF_RECIPROCAL[name], divide(_one(field), balls[0], field), field)
    if name in _OTHERS:
        return _OTHERS[name](balls, field)
    if name in ("floor", "ceil"):
        return _rounding(name, balls[0], field)
    if name in ("max", "min") and all(field.is_real(value) for value, _ in balls):
        chosen = max(balls) if name == "max" else min(balls)
        return chosen[0], max(error for _, error in balls)
    raise Undefined(name)


def _one(field: Field) -> Ball:
    return field.real(Fraction(1)), 0.0


def _elementary(name: str, ball: Ball, field: Field) -> Ball:
    argument, error = ball
    if abs(argument) > MAX_ANGLE:  # its digits behind the point would cost as many digits before it
        raise TooLarge("angle")
    value = getattr(field.functions, _LIBRARY_NAMES.get(name, name))(argument)
    if field.is_real(argument) and not value.imag:
        value = value.real
    elif field.real_only:
        raise NotReal(name)
    own = abs(value) * field.epsilon
    if not error:
        return value, own
    slope = abs(_DERIVATIVES[name](field.functions, argument, value))
    bend = 1 + slope + abs(value) if name in _ENTIRE else 1 + slope**3
    return value, 2 * slope * error + 10 * bend * error * error + own


def _arccot(balls: Sequence[Ball], field: Field) -> Ball:
    """Return pi/2 - arctan: between 0 and pi. Negative arguments have two conventions, so no one real value."""
    if field.real_only and field.is_real(balls[0][0]) and balls[0][0] < 0:
        raise NotReal("arccot of a negative number")
    value, error = _elementary("arctan", balls[0], field)
    quarter = field.pi / 2
    return quarter - value, error + (quarter + abs(value)) * field.epsilon


def natural_log(ball: Ball, field: Field) -> Ball:
    """Return the principal logarithm of a ball; raises Undefined if the ball holds zero."""
    room = abs(ball[0]) - ball[1]
    if room <= 0:
        raise Undefined("logarithm of zero")
    value = principal_log(ball[0], field)
    return value, ball[1] / room + abs(value) * field.epsilon


def _log(balls: Sequence[Ball], field: Field) -> Ball:
    return divide(natural_log(balls[0], field), natural_log(balls[1], field), field)


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


def _binomial(balls: Sequence[Ball], field: Field) -> Ball:
    difference = add([balls[0], (-balls[1][0], balls[1][1])], field)
    below = multiply(_factorial(balls[1], field), _factorial(difference, field), field)
    return divide(_factorial(balls[0], field), below, field)


def _double_factorial(balls: Sequence[Ball], field: Field) -> Ball:
    """Return n!! of an integer: 2^k k! of n = 2k, (2k)! / (2^k k!) of n = 2k - 1."""
    value, error = balls[0]
    if not field.is_real(value) or not -1 <= value <= MAX_GAMMA:
        raise Undefined("double factorial")
    count = round(float(value))
    if abs(value - count) > error:
        raise Undefined("double factorial of no integer")
    half = (count + 1) // 2
    if half > field.max_log:
        raise TooLarge("double factorial")
    power = field.real(Fraction(2)) ** half
    doubled = multiply(_factorial((field.real(Fraction(half)), 0.0), field), (power, abs(power) * field.epsilon), field)
    return (
        doubled if count % 2 == 0 else divide(_factorial((field.real(Fraction(2 * half)), 0.0), field), doubled, field)
    )


def _remainder(balls: Sequence[Ball], field: Field) -> Ball:
    """Return a mod b = a - b floor(a / b)."""
    times = _rounding("floor", divide(balls[0], balls[1], field), field)
    product = multiply(balls[1], times, field)
    return add([balls[0], (-product[0], product[1])], field)


def _real(balls: Sequence[Ball], field: Field) -> Ball:
    return balls[0][0].real, balls[0][1]


def _imaginary(balls: Sequence[Ball], field: Field) -> Ball:
    value, error = balls[0]
    return (field.real(Fraction(0)), error) if field.is_real(value) else (value.imag, error)


def _argument(balls: Sequence[Ball], field: Field) -> Ball:
    value, error = natural_log(balls[0], field)
    return _imaginary([(value, error)], field)


def _sign(balls: Sequence[Ball], field: Field) -> Ball:
    value, error = balls[0]
    if not field.is_real(value):
        raise Undefined("sign of a complex number")
    if abs(value) <= error and error:
        raise Undefined("sign of a value too near to zero")
    return field.real(Fraction((value > 0) - (value < 0))), 0.0


_OTHERS: dict[str, Callable[[Sequence[Ball], Field], Ball]] = {
    "ln": lambda balls, field: natural_log(balls[0], field),
    "log": _log,
    "abs": lambda balls, field: (abs(balls[0][0]), balls[0][1]),
    "arccot": _arccot,
    "fact": lambda balls, field: _factorial(balls[0], field),
    "binom": _binomial,
    "fact2": _double_factorial,
    "mod": _remainder,
    "re": _real,
    "im": _imaginary,
    "arg": _argument,
    "sgn": _sign,
}
