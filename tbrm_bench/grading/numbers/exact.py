"""Exact arithmetic on trees: fractions where a value is rational and small enough to write down, one form for the rest.

`exact` returns the rational value of a tree, or None: the root of 2, a symbol, a number beyond the limits. `canonical`
returns a tree that is the same for answers that differ in order and spelling only. Examples: exact of
`\\frac{\\sqrt{16}}{2}` is 2; `x+1` and `1+x`, `\\sqrt{3}/3` and `\\frac13\\sqrt3` have one canonical form each.
"""

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tbrm_bench.grading.limits import MAX_DIGITS, MAX_POWER_BITS
from tbrm_bench.grading.numbers.rational import function, power
from tbrm_bench.grading.read.tree import ONE, Tree, number

_NO_NUMBERS = frozenset(
    (
        "s",
        "c",
        "text",
        "rel",
        "chain",
        "list",
        "set",
        "br",
        "mat",
        "union",
        "inter",
        "minus",
        "+-",
        "-+",
        "base",
        "ratio",
    )
)


def exact(tree: Tree) -> Fraction | None:
    """Return the value of a tree if it is rational and small, without ever building a number beyond the limits."""
    if tree[0] == "n":
        return tree[1]  # type: ignore[no-any-return]
    return None if tree[0] in _NO_NUMBERS else _exact(tree)


@lru_cache(maxsize=32768)
def _exact(tree: Tree) -> Fraction | None:
    if tree[0] == "q":
        return _quantity(tree)
    parts = [exact(part) for part in tree[1:] if isinstance(part, tuple)]
    if not parts or any(part is None for part in parts):
        return None
    return _small(_combine(tree, [part for part in parts if part is not None]))


def plain(tree: Tree) -> Fraction | None:
    """Return the value of a number as such, 12, -12, 1/2 or -1/2; None for anything that asks for arithmetic."""
    kind = tree[0]
    if kind == "n":
        return tree[1]  # type: ignore[no-any-return]
    if kind == "-":
        value = plain(tree[1]) if tree[1][0] in ("n", "/") else None
        return -value if value is not None else None
    if kind == "/" and tree[1][0] == tree[2][0] == "n" and tree[2][1]:
        return Fraction(tree[1][1], tree[2][1])
    return None


def _quantity(tree: Tree) -> Fraction | None:
    value = exact(tree[1])
    return value * tree[2][1] if value is not None and tree[2][0] == (("percent", 1),) else None


def in_base(digits: str, base: int) -> Fraction | None:
    """Return the value of digits in a base, None if they are none."""
    if not 2 <= base <= 36 or len(digits) > MAX_DIGITS:
        return None
    try:
        return Fraction(int(digits, base))
    except ValueError:
        return None


def substituted(tree: Tree, values: Mapping[str, Fraction | Tree]) -> Tree:
    """Return a tree with its symbols replaced by numbers, or by other trees."""
    if tree[0] == "s":
        value = values.get(tree[1], tree)
        return value if isinstance(value, tuple) else number(value)
    if tree[0] in ("n", "c", "text", "base"):
        return tree
    parts = (substituted(part, values) if _is_tree(part) else part for part in tree[1:])
    return (tree[0], *parts)


def _is_tree(part: Any) -> bool:
    return isinstance(part, tuple) and bool(part) and isinstance(part[0], str)


def _small(value: Fraction | None) -> Fraction | None:
    if value is not None and value.numerator.bit_length() + value.denominator.bit_length() > MAX_POWER_BITS:
        return None
    return value


def _combine(tree: Tree, parts: list[Fraction]) -> Fraction | None:
    kind = tree[0]
    if kind == "+":
        return _accumulate(parts, Fraction(0), operator.add)
    if kind == "-":
        return -parts[0]
    if kind == "*":
        return _accumulate(parts, Fraction(1), operator.mul)
    if kind == "/":
        return parts[0] / parts[1] if parts[1] else None
    if kind == "^":
        return power(parts[0], parts[1])
    if kind == "root":
        return _rational_root(parts[0], parts[1])
    return function(tree[1], parts)


def _rational_root(base: Fraction, degree: Fraction) -> Fraction | None:
    """Return a root; of a negative number the odd one, which is real."""
    if not degree:
        return None
    if base < 0 and degree.denominator == 1 and degree.numerator % 2:
        value = power(-base, 1 / degree)
        return -value if value is not None else None
    return power(base, 1 / degree)


def _accumulate(
    parts: list[Fraction], start: Fraction, operation: Callable[[Fraction, Fraction], Fraction]
) -> Fraction | None:
    total: Fraction | None = start
    for part in parts:
        total = _small(operation(total, part)) if total is not None else None
    return total


def canonical(tree: Tree) -> Tree:
    """Return one form for trees that differ in the order of sums and products, in signs, in how quotients are
    written.
    """
    if tree[0] == "n":
        return number(tree[1])
    return tree if tree[0] in ("s", "c", "text") else _canonical(tree)


@lru_cache(maxsize=32768)
def _canonical(tree: Tree) -> Tree:
    value = exact(tree)
    if value is not None:
        return number(value)
    kind = tree[0]
    if kind in ("+", "-"):
        return _canonical_sum(tree)
    if kind in ("*", "/", "^", "root"):
        return _canonical_product(tree)
    if kind == "q":
        return ("q", canonical(tree[1]), tree[2])
    if kind == "mat":
        return ("mat", tuple(tuple(canonical(cell) for cell in row) for row in tree[1]))
    if kind == "chain":
        return ("chain", tree[1], tuple(canonical(side) for side in tree[2]))
    parts = [canonical(part) if isinstance(part, tuple) else part for part in tree[1:]]
    if kind in ("list", "set", "union", "inter"):
        parts.sort(key=repr)
    return (kind, *parts)


def _canonical_sum(tree: Tree) -> Tree:
    counts: dict[Tree, Fraction] = {}
    constant = Fraction(0)
    stack: list[tuple[int, Tree]] = [(1, tree)]
    while stack:
        sign, part = stack.pop()
        if part[0] == "+":
            stack.extend((sign, inner) for inner in part[1:])
        elif part[0] == "-":
            stack.append((-sign, part[1]))
        else:
            coefficient, rest = _split_coefficient(canonical(part))
            if rest == ONE:
                constant += sign * coefficient
            else:
                counts[rest] = counts.get(rest, Fraction(0)) + sign * coefficient
    terms = [_times(count, rest) for rest, count in sorted(counts.items(), key=lambda term: repr(term[0])) if count]
    if constant or not terms:
        terms.append(number(constant))
    return terms[0] if len(terms) == 1 else ("+", *terms)


def _split_coefficient(tree: Tree) -> tuple[Fraction, Tree]:
    if tree[0] == "n":
        return tree[1], ONE
    if tree[0] == "*" and tree[1][0] == "n":
        return tree[1][1], tree[2] if len(tree) == 3 else ("*", *tree[2:])
    return Fraction(1), tree


def _times(count: Fraction, rest: Tree) -> Tree:
    if count == 1:
        return rest
    return ("*", number(count), *(rest[1:] if rest[0] == "*" else (rest,)))


def _canonical_product(tree: Tree) -> Tree:
    coefficient = Fraction(1)
    exponents: dict[Tree, Fraction] = {}
    stack: list[tuple[Fraction, Tree]] = [(Fraction(1), tree)]
    while stack:
        count, part = stack.pop()
        value = exact(part)
        plain = power(value, count) if value is not None else None
        if plain is not None:
            coefficient *= plain
        elif part[0] == "*" and (count.denominator == 1 or tree is part):
            stack.extend((count, inner) for inner in part[1:])
        elif part[0] == "/" and count.denominator == 1:
            stack += [(count, part[1]), (-count, part[2])]
        elif part[0] == "-" and count.denominator == 1:
            coefficient *= -1 if count.numerator % 2 else 1
            stack.append((count, part[1]))
        elif part[0] in ("^", "root"):
            inner = exact(part[2])
            inner = (1 / inner if inner else None) if part[0] == "root" else inner
            if inner is not None and (count.denominator == 1):
                _push_power(exponents, stack, part[1], inner * count)
            else:
                base = (
                    ("^", canonical(part[1]), canonical(part[2]))
                    if part[0] == "^"
                    else ("root", canonical(part[1]), canonical(part[2]))
                )
                exponents[base] = exponents.get(base, Fraction(0)) + count
        else:
            base = canonical(part)
            if base[0] in ("*", "/", "n") and base != part:
                stack.append((count, base))
            else:
                exponents[base] = exponents.get(base, Fraction(0)) + count
    factors: list[Tree] = []
    for base, count in sorted(exponents.items(), key=lambda term: repr(term[0])):
        if not count:
            continue
        value = power(_value(base), count) if base[0] == "n" else None
        if value is not None:
            coefficient *= value
        else:
            factors.append(base if count == 1 else ("^", base, number(count)))
    if not factors or coefficient == 0:
        return number(coefficient)
    if coefficient == 1 and len(factors) == 1:
        return factors[0]
    return ("*", *factors) if coefficient == 1 else ("*", number(coefficient), *factors)


def _value(tree: Tree) -> Fraction:
    value = tree[1]
    assert isinstance(value, Fraction)
    return value


def _push_power(
    exponents: dict[Tree, Fraction], stack: list[tuple[Fraction, Tree]], base: Tree, exponent: Fraction
) -> None:
    """Add base**exponent to a product; only integer powers reach into the base, so that signs stay right."""
    if exponent.denominator == 1:
        stack.append((exponent, base))
    else:
        reduced = canonical(base)
        exponents[reduced] = exponents.get(reduced, Fraction(0)) + exponent
