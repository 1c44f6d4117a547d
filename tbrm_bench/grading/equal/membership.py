"""Whether two described sets of whole numbers are the same: membership of every number up to where they can differ.

The sets that `read.described` knows are made of residue classes, bounds, single numbers, primes, powers and their
multiples, all with small constants. Two of them that agree on a range of twice the common modulus beyond the largest
constant agree everywhere, but for sparse ones, powers, whose next members are tried too.

A gold that says nothing of signs, "odd n", is of a problem about positive numbers or about all: it is compared on the
positive ones, unless it names 0, negative numbers or Z.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.described import Described, described
from tbrm_bench.grading.read.described_statements import Condition, Progression
from tbrm_bench.grading.read.described_words import CONDITIONS
from tbrm_bench.grading.read.words import plain
from tbrm_bench.records import Gold

MAX_RANGE = 9_000
_SPARSE = 10**7


def described_gold(gold: Gold) -> Described | None:
    """Return the set that a gold describes; None for one that describes none, as most do."""
    if not any(char.isalpha() for answer in gold.answers for char in answer):
        return None
    if len(gold.answers) == 1 and plain(gold.answers[0]).strip(" .").lower() in CONDITIONS:
        return None  # "even" is said of a number or a function
    found = described(", ".join(gold.answers))
    return found if found is not None and found.may_be_whole else None


def by_membership(answer: str, gold: Described) -> Verdict:
    """Compare an answer with a described gold; one of them must say in words or signs that whole numbers are meant."""
    given = described(answer)
    if given is None or not (gold.evident or given.evident):
        return None, ""
    if gold.subject and given.subject not in ("", gold.subject) and not (gold.worded and given.worded):
        return None, ""  # m = 4k + 3 for n = 4k + 3
    return same_members(gold, given), "described"


def same_members(gold: Described, pred: Described) -> bool | None:
    """Return whether two descriptions are of one set; None where their constants ask for too large a range."""
    constants = [*_constants(gold), *_constants(pred)]
    common = math.lcm(*(_modulus(part) for each in (gold, pred) for part in (*each.parts, *each.exceptions)))
    reach = 2 * max(constants, default=0) + 2 * common + 200
    if reach > MAX_RANGE:
        return None
    lowest = -reach if _about_all(gold, reach) else 1
    points = [*range(lowest, reach), *_powers(gold), *_powers(pred)]
    named = [number for number in constants if number < lowest and _is_named(pred, number)]
    has, given = _holding(gold), _holding(pred)
    return all(has(point) == given(point) for point in (*points, *named))


def _about_all(gold: Described, reach: int) -> bool:
    """Whether the gold decides on numbers that are not positive: it has none of them, or names one."""
    if any(_is_named(gold, number) for number in (0, *(number for number in _constants(gold) if number < 0))):
        return True
    return gold.parts == (Progression(),) or not any(_holding(gold)(number) for number in range(-reach, 1))


def _is_named(found: Described, number: int) -> bool:
    """Whether a number itself is a member or an exception by its own name."""
    name = ("=", number)
    excluded = ("!=", number)
    return any(
        (name,) in part.on_n or (excluded,) in (*part.on_n, *part.on_q) for part in (*found.parts, *found.exceptions)
    )


def _constants(found: Described) -> Iterable[int]:
    for part in (*found.parts, *found.exceptions):
        yield from (part.start, part.step)
        for condition in (condition for group in (*part.on_q, *part.on_n) for condition in group):
            scale = part.step if _is_on_q(part, condition) else 1
            yield condition[1] * scale + (part.start if scale > 1 else 0)


def _is_on_q(part: Progression, condition: Condition) -> bool:
    """Whether a condition is one on the letter of the form."""
    return any(condition in group for group in part.on_q)


def _modulus(part: Progression) -> int:
    groups = (*part.on_q, *part.on_n)
    moduli = [int(name[4:]) for group in groups for name, _ in group if name.startswith("mod ")]
    moduli += [value for group in groups for name, value in group if name == "multiples"]
    return math.lcm(part.step, *moduli) * (part.step if part.on_q else 1)


def _powers(found: Described) -> Iterable[int]:
    parts = (*found.parts, *found.exceptions)
    bases = {part.base for part in parts if part.base} | {
        value for part in parts for group in (*part.on_q, *part.on_n) for name, value in group if name == "powers"
    }
    for base in bases:
        power = 1
        while power < _SPARSE:
            yield power
            power *= base


Holds = Callable[[int], bool]


@lru_cache(maxsize=1024)
def _holding(found: Described) -> Holds:
    """Return the membership of a description as a function."""
    parts, exceptions = ([_in_progression(part) for part in group] for group in (found.parts, found.exceptions))
    return lambda number: any(has(number) for has in parts) and not any(has(number) for has in exceptions)


def _in_progression(part: Progression) -> Holds:
    on_q, on_n = ([_any_of(group) for group in groups] for groups in (part.on_q, part.on_n))
    base, step, start = part.base, part.step, part.start

    def has(number: int) -> bool:
        if base:
            q = _exponent(number, base)
            if q is None:
                return False
        else:
            q, rest = divmod(number - start, step)
            if rest:
                return False
        return all(said(q) for said in on_q) and all(said(number) for said in on_n)

    return has


def _any_of(group: tuple[Condition, ...]) -> Holds:
    said = [_fulfils(*condition) for condition in group]
    return said[0] if len(said) == 1 else lambda number: any(one(number) for one in said)


def _exponent(number: int, base: int) -> int | None:
    exponent = 0
    while number > 1 and number % base == 0:
        number //= base
        exponent += 1
    return exponent if number == 1 else None


def _fulfils(name: str, value: int) -> Holds:
    if name.startswith("mod "):
        modulus = int(name[4:])
        return lambda number: number % modulus == value
    named: dict[str, Holds] = {
        "prime": _is_prime,
        "composite": lambda number: number > 1 and not _is_prime(number),
        "power of": lambda number: number >= 0 and round(number ** (1 / value)) ** value == number,  # a square, a cube
        "powers": lambda number: _exponent(number, value) is not None,
        "multiples": lambda number: number % value == 0,
        "=": lambda number: number == value,
        "!=": lambda number: number != value,
        ">=": lambda number: number >= value,
        ">": lambda number: number > value,
        "<=": lambda number: number <= value,
        "<": lambda number: number < value,
    }
    return named[name]


def _is_prime(number: int) -> bool:
    if number < MAX_RANGE:
        return number > 1 and not _composites()[number]
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


@cache
def _composites() -> bytearray:
    """Return 1 for every number with a proper divisor, up to the range."""
    found = bytearray(MAX_RANGE)
    for divisor in range(2, math.isqrt(MAX_RANGE) + 1):
        found[divisor * divisor :: divisor] = b"\x01" * len(range(divisor * divisor, MAX_RANGE, divisor))
    return found
