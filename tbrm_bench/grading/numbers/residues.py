"""Polynomials, rational functions and numbers too large to write out, compared by their remainders.

Two expressions over the rational numbers that leave different remainders by one prime are different, a proof. The same
remainders by four primes of 61 bits are taken as equality: each letter stands for one remainder, drawn by its name, and
two different rational functions of degree d agree there with a chance below (d / 2^60)^4 (Schwartz and Zippel). Powers,
factorials and binomials are never expanded.

Examples: 10^{10^{100}} and 100^{10^{100}/2} leave the same four remainders, 10^{10^{100}+1} leaves others; so do
(n+1)^{300} and (n+1)^{300} - 1.
"""

import hashlib
from fractions import Fraction
from functools import lru_cache

from tbrm_bench.grading.limits import MAX_STEPS
from tbrm_bench.grading.numbers.exact import exact
from tbrm_bench.grading.numbers.rational import power
from tbrm_bench.grading.read.tree import Tree, walk

MAX_QUICK_BITS = 64
PRIMES = tuple(2**61 - below for below in (1, 31, 45, 229))


class _Unknown(Exception):
    """No remainder: a root, a symbol, a constant, a quotient by a multiple of the prime."""


def same_residues(left: Tree, right: Tree) -> bool | None:
    """Return whether two expressions leave the same remainders by all primes; None where one has none."""
    try:
        return all(_residue(left, prime) == _residue(right, prime) for prime in PRIMES)
    except (_Unknown, RecursionError):
        return None


def proportional_residues(left: Tree, right: Tree) -> bool | None:
    """Return whether left = c right for one number c != 0 and not only at some points; None where one has no remainder.

    c is a rational number, so its remainder is that of left / right wherever the letters are.
    """
    try:
        for prime in PRIMES:
            pairs = [(_residue(left, prime, draw), _residue(right, prime, draw)) for draw in ("", "again")]
            (above, below), (other_above, other_below) = pairs
            if not (above and below and other_above and other_below):
                return None
            if (above * other_below - other_above * below) % prime:
                return False
    except (_Unknown, RecursionError):
        return None
    return True


def is_quick(*trees: Tree) -> bool:
    """Whether remainders cost microseconds: no long exponents, no factorials that are multiplied out."""
    for part in (part for tree in trees for part in walk(tree)):
        if part[0] == "^":
            exponent = exact(part[2])
            if exponent is None or exponent.numerator.bit_length() > MAX_QUICK_BITS:
                return False
        elif part[0] == "f" and exact(part) is None:
            return False
    return True


@lru_cache(maxsize=4096)
def _letter(name: str, prime: int, draw: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{name}\x1f{draw}".encode(), digest_size=8).digest(), "big") % prime


def _residue(tree: Tree, prime: int, draw: str = "") -> int:
    kind = tree[0]
    if kind == "n":
        below = tree[1].denominator
        return tree[1].numerator % prime if below == 1 else _quotient(tree[1].numerator, below, prime)
    if kind == "s":
        return _letter(tree[1], prime, draw)
    if kind == "+":
        return sum(_residue(part, prime, draw) for part in tree[1:]) % prime
    if kind == "-":
        return -_residue(tree[1], prime, draw) % prime
    if kind == "*":
        product = 1
        for part in tree[1:]:
            product = product * _residue(part, prime, draw) % prime
        return product
    if kind == "/":
        return _quotient(_residue(tree[1], prime, draw), _residue(tree[2], prime, draw), prime)
    if kind == "^":
        return _power(tree, prime, draw)
    if kind == "f" and tree[1] == "fact":
        return _factorial(_whole(tree[2]), prime)
    if kind == "f" and tree[1] == "binom":
        above, below = _whole(tree[2]), _whole(tree[3])
        if not 0 <= below <= above:
            raise _Unknown
        return _quotient(_factorial(above, prime), _factorial(below, prime) * _factorial(above - below, prime), prime)
    value = exact(tree) if kind in ("root", "f") else None
    if value is None:
        raise _Unknown
    return _quotient(value.numerator, value.denominator, prime)


def _power(tree: Tree, prime: int, draw: str) -> int:
    exponent = exact(tree[2])
    if exponent is None:
        raise _Unknown
    root = _residue(tree[1], prime, draw) if exponent.denominator == 1 else _perfect_root(tree[1], exponent, prime)
    raised = pow(root, abs(exponent.numerator), prime)
    return raised if exponent >= 0 else _quotient(1, raised, prime)


def _perfect_root(base: Tree, exponent: Fraction, prime: int) -> int:
    value = exact(base)
    root = power(value, Fraction(1, exponent.denominator)) if value is not None else None
    if root is None:
        raise _Unknown
    return _quotient(root.numerator, root.denominator, prime)


def _whole(tree: Tree) -> int:
    value: Fraction | None = exact(tree)
    if value is None or value.denominator != 1:
        raise _Unknown
    return value.numerator


def _quotient(above: int, below: int, prime: int) -> int:
    if below % prime == 0:
        raise _Unknown
    return above * pow(below, -1, prime) % prime


def _factorial(number: int, prime: int) -> int:
    if not 0 <= number <= MAX_STEPS:
        raise _Unknown
    product = 1
    for factor in range(2, number + 1):
        product = product * factor % prime
    return product
