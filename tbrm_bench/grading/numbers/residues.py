"""Numbers too large to write out, compared by their remainders: 3^{100000} is not 3^{100000}+1.

Two expressions of whole numbers that leave different remainders by one prime are different numbers, a proof. The same
remainders by four primes of 61 bits are taken as equality. Powers, factorials and binomials are never expanded.

Example: 10^{10^{100}} and 100^{10^{100}/2} leave the same four remainders; 10^{10^{100}+1} leaves others.
"""

from fractions import Fraction

from tbrm_bench.grading.limits import MAX_STEPS
from tbrm_bench.grading.numbers.exact import exact
from tbrm_bench.grading.read.tree import Tree

PRIMES = tuple(2**61 - below for below in (1, 31, 45, 229))


class _Unknown(Exception):
    """No remainder: a root, a symbol, a constant, a quotient by a multiple of the prime."""


def same_residues(left: Tree, right: Tree) -> bool | None:
    """Return whether two numbers leave the same remainders by all primes; None where one has none."""
    try:
        return all(_residue(left, prime) == _residue(right, prime) for prime in PRIMES)
    except (_Unknown, RecursionError):
        return None


def _residue(tree: Tree, prime: int) -> int:
    kind = tree[0]
    if kind == "n":
        return _quotient(tree[1].numerator, tree[1].denominator, prime)
    if kind == "+":
        return sum(_residue(part, prime) for part in tree[1:]) % prime
    if kind == "-":
        return -_residue(tree[1], prime) % prime
    if kind == "*":
        product = 1
        for part in tree[1:]:
            product = product * _residue(part, prime) % prime
        return product
    if kind == "/":
        return _quotient(_residue(tree[1], prime), _residue(tree[2], prime), prime)
    if kind == "^":
        exponent = _whole(tree[2])
        base = _residue(tree[1], prime)
        return pow(base, exponent, prime) if exponent >= 0 else _quotient(1, pow(base, -exponent, prime), prime)
    if kind == "f" and tree[1] == "fact":
        return _factorial(_whole(tree[2]), prime)
    if kind == "f" and tree[1] == "binom":
        above, below = _whole(tree[2]), _whole(tree[3])
        if not 0 <= below <= above:
            raise _Unknown
        return _quotient(_factorial(above, prime), _factorial(below, prime) * _factorial(above - below, prime), prime)
    raise _Unknown


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
