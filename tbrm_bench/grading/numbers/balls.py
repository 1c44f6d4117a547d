"""Values with a bound on their error: the difference of two expressions, kept apart from rounding.

A ball (value, error) holds the true value: |true - value| <= error. Two balls that do not meet prove that two values
differ; two tiny balls that meet at a hundred digits, at several points, are taken as equality. The same rules run on
floats (in microseconds, and only ever to prove a difference) and on mpmath's numbers (in a worker).

Example: sqrt(2) sqrt(3) - sqrt(6) gives (4e-16, 9e-16) on floats: it may be 0; 10^{-30} and 10^{-31} are distinguished.
"""

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tbrm_bench.grading.limits import MAX_LOG

Ball = tuple[Any, Any]  # a float, complex, mpf or mpc; a float or mpf


class Undefined(Exception):
    """No value here: a pole, a number out of range, a shape that has no value."""


class NotReal(Undefined):
    """No real value: the root or the logarithm of a negative number, where only real numbers are asked for."""


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
    real_only: bool = False  # whether a step that leaves the real line raises NotReal


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
REAL_FLOATS = replace(FLOATS, real_only=True)


def rounded(value: Any, field: Field) -> Ball:
    """Return the ball of a value that was rounded once."""
    return value, abs(value) * field.epsilon


def add(balls: Sequence[Ball], field: Field) -> Ball:
    """Return the sum of balls."""
    total = balls[0][0]
    error, size = balls[0][1], abs(total)
    for value, own in balls[1:]:
        total = total + value
        error = error + own
        size = size + abs(value)
    return total, error + size * field.epsilon * len(balls)


def multiply(left: Ball, right: Ball, field: Field) -> Ball:
    """Return the product of two balls."""
    value = left[0] * right[0]
    return value, abs(left[0]) * right[1] + abs(right[0]) * left[1] + left[1] * right[1] + abs(value) * field.epsilon


def divide(above: Ball, below: Ball, field: Field) -> Ball:
    """Return a quotient. Raises Undefined when the divisor may be 0."""
    room = abs(below[0]) - below[1]
    if room <= 0:
        raise Undefined("division by zero")
    value = above[0] / below[0]
    return value, (above[1] + abs(value) * below[1]) / room + abs(value) * field.epsilon


def power(base: Ball, exponent: Ball, field: Field) -> Ball:
    """Return base**exponent, the principal value. Raises Undefined if the base may be 0, TooLarge beyond the limit."""
    room = abs(base[0]) - base[1]
    if room <= 0:
        raise Undefined("power of zero")
    logarithm = principal_log(base[0], field)
    inner = exponent[0] * logarithm
    if abs(inner) > field.max_log:
        raise TooLarge("power")
    error = abs(exponent[0]) * (base[1] / room + abs(logarithm) * field.epsilon)
    error = error + abs(logarithm) * exponent[1] + abs(inner) * field.epsilon
    if error > 1:
        raise Undefined("imprecise")
    value = _exponential(inner, field)
    return value, abs(value) * (error * 2 + field.epsilon)


def principal_log(value: Any, field: Field) -> Any:
    """Return the principal logarithm of a number other than 0; real for positive numbers."""
    if field.is_real(value) and value > 0:
        return _real_part(field.functions.log(value), field)
    if field.real_only:
        raise NotReal("logarithm or root")
    # Zero imaginary parts of either sign mean the same number; the principal branch is the one with +pi.
    value = value + 0j if field.is_real(value) else _with_plus_zero(value)
    return field.functions.log(value)


def _with_plus_zero(value: Any) -> Any:
    """Return a complex number whose zero imaginary part, if any, is positive."""
    return value if value.imag else value.real + 0j


def _exponential(value: Any, field: Field) -> Any:
    result = field.functions.exp(value)
    return _real_part(result, field) if field.is_real(value) else result


def _real_part(value: Any, field: Field) -> Any:
    return value if field.is_real(value) else value.real


def precise_field(digits: int, *, real_only: bool = False) -> Field:
    """Return the arithmetic of mpmath at so many digits, with ten more for rounding. Imports mpmath."""
    import mpmath  # type: ignore[import-untyped]

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
        real_only=real_only,
    )
