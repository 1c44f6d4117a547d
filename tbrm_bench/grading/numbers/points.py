r"""The points at which two expressions are compared, so that what is equal at a few of them only is found out.

A letter stands for numbers of either sign where it is an unknown or a parameter (a to d, C, p, q, t, w to z, angles,
f(x)), for positive numbers where it counts (j, n, N) and where any letter of the two expressions is a quantity (m, r,
L, v_0). An absolute value, a maximum or a minimum makes all of them signed. A factorial, a binomial or (-1)^n asks for
positive integers of both parities up to 10^4; so does a floor or a ceiling of the letters a to s and capitals, while x,
y, z, ... take any real number.

Where a side can change its formula (absolute value, maximum, floor, even root), points lie at both sides of the
numbers that its constants suggest as breakpoints: of |2x - 5| these are 2, 5, 5/2 and 2/5 with both signs.

Example: \sqrt{(x-4)^2} and 4-x agree at x = 1 and part at x = 4.001.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import isqrt
from typing import NamedTuple
from zlib import crc32

from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.read.tree import Tree, symbols, walk

NUM_TRIALS = 36
MAX_SUGGESTED = 40  # breakpoints
MAX_CONSTANTS = 7  # that breakpoints are made from
LARGEST = 10**4
Point = dict[str, Fraction]

_GREEK = frozenset(["alpha", "beta", "gamma", "delta", "theta", "vartheta", "phi", "varphi", "psi"])
_SIGNED = frozenset("abcdpqtwxyzC") | _GREEK
_COUNTS = frozenset("jnN")
_INTEGERS = frozenset("abcdijklmnopqrs")  # where a floor stands; capitals too
_OF_INTEGERS = frozenset(("fact", "fact2", "binom", "gcd", "lcm"))
_STEPS = frozenset(("floor", "ceil", "mod"))
_FOLDS = frozenset(("abs", "max", "min", "sgn"))
_OF_COMPLEX = frozenset(("re", "im", "arg"))
# lowest and span, in hundredths, and whether of either sign: the six kinds of coordinate that take turns
_SCALES = (
    *((20, 290, False), (20, 290, True), (300, 3_700, True)),
    *((1, 99, True), (1, 99, False), (4_000, 100 * LARGEST - 4_000, True)),
)
_GRAIN = 4093


class Domain(NamedTuple):
    """How the symbols of two expressions are drawn."""

    names: tuple[str, ...]
    integers: bool  # all symbols stand for positive integers
    steps: bool  # a floor, a ceiling, a remainder
    folds: bool  # an absolute value, a maximum, a minimum, a sign
    roots: bool  # an even root, which is an absolute value of what it can be taken of
    signed: bool
    is_complex: bool  # i occurs
    parts_of_complex: bool  # a real part, an imaginary part, an argument
    ordered: bool  # a maximum, a minimum, a sign, a step: no complex number has them

    @property
    def exactly(self) -> bool:
        """Whether values are written into the expressions, since a step needs to know its argument exactly."""
        return self.integers or self.steps


def domain_of(left: Tree, right: Tree) -> Domain:
    """Return how the symbols of two expressions are drawn."""
    names: set[str] = set()
    found: set[str] = set()
    for part in (*walk(left), *walk(right)):
        kind = part[0]
        if kind == "s":
            names.add(part[1])
        elif kind == "f":
            found.add(part[1])
        elif kind in ("root", "^"):
            found.add(_kind_of_power(part))
        elif kind == "c":
            found.add(part[1])
    folds = not _FOLDS.isdisjoint(found)
    return Domain(
        names=tuple(sorted(names)),
        integers="sign" in found or not _OF_INTEGERS.isdisjoint(found),
        steps=not _STEPS.isdisjoint(found),
        folds=folds,
        roots="root" in found,
        signed=folds or ("i" not in found and all(_is_signed(name) or _head(name) in _COUNTS for name in names)),
        is_complex="i" in found,
        parts_of_complex=not _OF_COMPLEX.isdisjoint(found),
        ordered=not (_STEPS | _FOLDS - {"abs"}).isdisjoint(found),
    )


def _kind_of_power(part: Tree) -> str:
    """Return "sign" for (-1)^n, "root" for an even root, "" for any other power."""
    exponent = exact(part[2])
    if exponent is None:
        base = exact(part[1])
        return "sign" if base is not None and base < 0 and symbols(part[2]) else ""
    if part[0] == "root":
        return "" if exponent.denominator == 1 and exponent.numerator % 2 else "root"
    return "root" if exponent.denominator % 2 == 0 else ""


def _head(name: str) -> str:
    return name.partition("_")[0].rstrip("'")


def _is_signed(name: str) -> bool:
    return "(" in name or _head(name) in _SIGNED  # f(x) may be anything


def _may_be_negative(name: str, domain: Domain) -> bool:
    return domain.folds or (domain.signed and _is_signed(name))


def _is_integer(name: str, domain: Domain) -> bool:
    head = _head(name)
    return domain.integers or (domain.steps and (head in _INTEGERS or head.isupper()))


def first_points(domain: Domain) -> Iterator[Point]:
    """Yield points that depend on nothing but the names: enough to prove most differences."""
    if not domain.names:
        yield {}
        return
    for trial in range(NUM_TRIALS):
        yield {name: _coordinate(name, trial, domain, b"") for name in domain.names}


def drawn_points(left: Tree, right: Tree, domain: Domain) -> Iterator[Point]:
    """Yield points drawn by a seed of both expressions, the same in either order."""
    if not domain.names:
        yield {}
        return
    seed = _seed(left, right)
    for trial in range(NUM_TRIALS):
        yield {name: _coordinate(name, trial, domain, seed) for name in domain.names}
    yield from _mixed(domain, suggested(left, right), NUM_TRIALS, seed)


def scanned_points(left: Tree, right: Tree, domain: Domain, num_drawn: int) -> Iterator[Point]:
    """Yield many points: breakpoints from both sides, with one symbol, and mixtures of them with drawn numbers."""
    pool = suggested(left, right)
    if len(domain.names) == 1:
        name = domain.names[0]
        values = _whole_pool(pool) if _is_integer(name, domain) else pool
        yield from ({name: value} for value in values if value > 0 or _may_be_negative(name, domain))
    elif domain.folds and domain.names:  # max(a, b, -1000) is max(a, b) unless both are below
        for shift in range(4):
            far = pool[-1 - shift % 2] * (1 + shift // 2)
            yield {
                name: far + Fraction(index * (3 - shift), 5) if far > 0 or _may_be_negative(name, domain) else -far
                for index, name in enumerate(domain.names)
            }
    yield from _mixed(domain, pool, num_drawn, _seed(left, right))


def _whole_pool(pool: tuple[Fraction, ...]) -> list[Fraction]:
    near = {int(value) + shift for value in pool for shift in (-1, 0, 1)}
    return [Fraction(value) for value in sorted(near | set(range(1, 41))) if value > 0]


def _mixed(domain: Domain, pool: tuple[Fraction, ...], num_points: int, seed: bytes) -> Iterator[Point]:
    """Yield points whose coordinates are drawn, or taken from the breakpoints."""
    for trial in range(num_points):
        point = {}
        for name in domain.names:
            noise = _noise(seed + b"mixed", trial, name)
            value = pool[noise % len(pool)] if pool and noise & 1 << 20 else None
            if value is None or _is_integer(name, domain) or not (value > 0 or _may_be_negative(name, domain)):
                value = _coordinate(name, trial, domain, seed + b"mixed")
            point[name] = value
        yield point


def _seed(left: Tree, right: Tree) -> bytes:
    return (crc32(repr(left).encode()) + crc32(repr(right).encode())).to_bytes(8, "big")


def _noise(seed: bytes, trial: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(seed + f"{trial}\x1f{name}".encode(), digest_size=5).digest(), "big")


def _coordinate(name: str, trial: int, domain: Domain, seed: bytes) -> Fraction:
    if _is_integer(name, domain):
        noise = _noise(seed, trial, name)
        return Fraction(noise % (4 + 2 * trial if trial % 3 < 2 else LARGEST) + 1)
    if domain.steps and trial % 3 == 2:
        return Fraction(_noise(seed, trial, name) % 41 - 20)
    return _drawn(name, trial, _may_be_negative(name, domain), seed)


@lru_cache(maxsize=8192)
def _drawn(name: str, trial: int, may_be_negative: bool, seed: bytes) -> Fraction:
    noise = _noise(seed, trial, name)
    low, span, signed = _SCALES[trial % len(_SCALES)]
    value = Fraction(low * _GRAIN + span * (noise % _GRAIN), 100 * _GRAIN)
    return -value if signed and may_be_negative and noise & 1 << 32 else value


@lru_cache(maxsize=256)
def suggested(left: Tree, right: Tree) -> tuple[Fraction, ...]:
    """Return numbers at both sides of, and between, those at which the constants suggest that a formula changes."""
    parts = [part for tree in (left, right) for part in (*walk(tree), *walk(canonical(tree)))]
    constants = sorted({abs(part[1]) for part in parts if part[0] == "n"} - {0})
    few = constants[: MAX_CONSTANTS // 2] + constants[-(MAX_CONSTANTS - MAX_CONSTANTS // 2) :]
    breaks = {*few, *(1 / value for value in few), Fraction(0)} | {above / below for above in few for below in few}
    breaks |= {Fraction(isqrt(value.numerator), isqrt(value.denominator)) for value in few if isqrt(value.denominator)}
    chosen = sorted(breaks, key=lambda value: (value not in few, value.denominator, value))[: MAX_SUGGESTED // 2]
    ordered = sorted({sign * value for value in chosen for sign in (1, -1)})
    gap = min((high - low for low, high in pairwise(ordered)), default=Fraction(1))
    near = min(gap / 3, Fraction(1, 997))
    between = [(low + high) / 2 for low, high in pairwise(ordered)]
    beyond = ordered[-1] * 2 + Fraction(13, 7)
    return (*(value + near for value in ordered), *(value - near for value in ordered), *between, beyond, -beyond)
