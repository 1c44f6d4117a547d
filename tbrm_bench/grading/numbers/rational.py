"""Functions of fractions whose values are fractions again, never beyond the limits: roots, logarithms, factorials.

Example: power of (4/9, 1/2) is 2/3; the double factorial of 5 is 5 * 3 * 1 = 15.
"""

from fractions import Fraction
from math import comb, factorial, gcd, isqrt, lcm, log, prod

from tbrm_bench.grading.limits import MAX_FACTORIAL, MAX_POWER_BITS


def power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Return base**exponent if it is rational and within the limits: integer powers, perfect roots."""
    if exponent.denominator == 1:
        count = exponent.numerator
        bits = base.numerator.bit_length() + base.denominator.bit_length()
        if base == 0:
            return Fraction(0) if count > 0 else Fraction(1) if count == 0 else None
        if abs(base) != 1 and bits * abs(count) > MAX_POWER_BITS:
            return None
        return base**count if abs(base) != 1 else Fraction(1 if base == 1 or count % 2 == 0 else -1)
    degree = exponent.denominator
    if base < 0 or degree > 64:
        return None
    above, below = _root(base.numerator, degree), _root(base.denominator, degree)
    if above is None or not below:
        return None
    return power(Fraction(above, below), Fraction(exponent.numerator))


def _root(value: int, degree: int) -> int | None:
    """Return the integer root of a perfect power, else None."""
    if value in (0, 1):
        return value
    if value.bit_length() > MAX_POWER_BITS:
        return None
    if degree == 2:
        root = isqrt(value)
        return root if root * root == value else None
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


def function(name: str, parts: list[Fraction]) -> Fraction | None:
    """Return a function's value if it is rational and within the limits."""
    first = parts[0]
    if name == "abs":
        return abs(first)
    if name in ("gcd", "lcm") and all(part.denominator == 1 for part in parts):
        return Fraction((gcd if name == "gcd" else lcm)(*(int(part) for part in parts)))
    if name == "floor":
        return Fraction(first.numerator // first.denominator)
    if name == "ceil":
        return Fraction(-(-first.numerator // first.denominator))
    if name in ("max", "min"):
        return max(parts) if name == "max" else min(parts)
    if name == "log":
        return _logarithm(first, parts[1])
    if name in ("re", "im"):
        return first if name == "re" else Fraction(0)
    if name == "sgn":
        return Fraction((first > 0) - (first < 0))
    if name == "mod":
        return first - parts[1] * (first // parts[1]) if parts[1] else None
    return _of_integers(name, parts)


def _of_integers(name: str, parts: list[Fraction]) -> Fraction | None:
    first = parts[0]
    integral = all(part.denominator == 1 for part in parts)
    if name == "fact" and integral and 0 <= first <= MAX_FACTORIAL:
        return Fraction(factorial(int(first)))
    if name == "fact2" and integral and -1 <= first <= MAX_FACTORIAL:
        return Fraction(prod(range(int(first), 0, -2)))
    if name == "binom" and integral and 0 <= parts[1] <= MAX_FACTORIAL and 0 <= first <= MAX_FACTORIAL:
        return Fraction(comb(int(first), int(parts[1])))
    return None


def _logarithm(value: Fraction, base: Fraction) -> Fraction | None:
    """Return the logarithm if it is an integer, which floor and ceiling need to know exactly."""
    if value <= 0 or base <= 0 or base == 1:
        return None
    guess = round((log(value.numerator) - log(value.denominator)) / (log(base.numerator) - log(base.denominator)))
    return Fraction(guess) if power(base, Fraction(guess)) == value else None
