r"""Does an answer have a value at all? Found before anything in it is folded or cancelled.

    \frac{0}{0}   0 \cdot \infty   \infty - \infty   \frac{1}{\infty}   0^0   \ln 0   0 \cdot \tan 90^\circ

have none. An infinity is a value of its own, the end of an interval or a side of a relation; no expression is built
from it. Everything else reduces to one question: is a divisor, the argument of a logarithm, the base of a power 0? A
letter is not: x/x is 1.
"""

from collections.abc import Iterator
from functools import cache

from tbrm_bench.grading.numbers.balls import FLOATS, Field, TooLarge, Undefined, precise_field
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.points import domain_of, first_points
from tbrm_bench.grading.read.tree import ZERO, Tree, children, number

DIGITS = (60, 400)
NUM_POINTS = 4
_ARITHMETIC = frozenset(("+", "*", "/", "^", "root", "f", "base"))
_SIGNS = frozenset(("-", "+-", "-+"))  # an infinity may carry one
_WITH_POLES = frozenset(("/", "^", "root", "f"))
_NEVER_INFINITE = frozenset(("n", "s", "text"))
_LEAVES = _NEVER_INFINITE | {"c"}
_INFINITY: Tree = ("c", "inf")
_POLES = {"tan": "cos", "sec": "cos", "cot": "sin", "csc": "sin", "coth": "sinh", "csch": "sinh"}
_NOT_OF_ZERO = ("ln", "arg", "arcsec", "arccsc")


def lacks_value(tree: Tree, *, precise: bool) -> bool | None:
    """Return whether some part of an answer has no value; None where only a worker can tell."""
    if tree[0] in _LEAVES:
        return False
    verdict: bool | None = False
    stack = [(tree, True)]
    while stack:
        part, may_be_infinite = stack.pop()
        if part == _INFINITY:
            if not may_be_infinite:
                return True
            continue
        if part[0] == "*" and _is_nothing_times(part):
            return True
        if part[0] in _WITH_POLES:
            for suspect in _not_to_be_zero(part):
                is_zero = suspect[1] == 0 if suspect[0] == "n" else _is_zero(suspect, precise=precise)
                if is_zero:
                    return True
                verdict = None if is_zero is None else verdict
        if part[0] not in _SIGNS and (part[0] != "+" or len(part) > 2):
            may_be_infinite = part[0] not in _ARITHMETIC
        stack += [(inner, may_be_infinite) for inner in children(part) if inner[0] not in _NEVER_INFINITE]
    return verdict


def _is_nothing_times(part: Tree) -> bool:
    """Whether a product of 0 has a factor that is no number, "undefined" or the empty set."""
    return any(inner[0] in ("text", "set") or inner == ("c", "empty") for inner in part[1:]) and any(
        inner[0] != "text" and exact(inner) == 0 for inner in part[1:]
    )


def _not_to_be_zero(part: Tree) -> Iterator[Tree]:
    """Yield what must not be 0 for this part to have a value, beside what its own parts need."""
    kind = part[0]
    if kind == "/":
        yield part[2]
    elif kind == "^":
        exponent = exact(part[2])
        if exponent is not None and exponent <= 0:
            yield part[1]
        elif exponent is None and exact(part[1]) == 0:
            yield part[1]  # 0^x
    elif kind == "root":
        yield part[2]
    elif kind == "f":
        yield from _not_zero_in_function(part[1], part[2:])


def _not_zero_in_function(name: str, arguments: Tree) -> Iterator[Tree]:
    if name in _POLES:
        yield ("f", _POLES[name], arguments[0])
    elif name in _NOT_OF_ZERO:
        yield arguments[0]
    elif name == "log":
        yield from arguments
        yield ("+", arguments[1], number(-1))
    elif name == "mod":
        yield arguments[1]
    elif name in ("fact", "fact2") and (value := exact(arguments[0])) is not None:
        least = 0 if name == "fact" else -1
        if value.denominator == 1 and value < least:
            yield ZERO


def _is_zero(tree: Tree, *, precise: bool) -> bool | None:
    """Return whether an expression is 0 wherever it has a value; None where floats cannot tell."""
    if tree[0] == "s":
        return False
    value = exact(tree)
    if value is not None:
        return value == 0
    if canonical(tree) == ZERO:
        return True
    if _differs_from_zero(tree, FLOATS):
        return False
    if not precise:
        return None
    return not any(_differs_from_zero(tree, _precise(digits)) for digits in DIGITS)


def _differs_from_zero(tree: Tree, field: Field) -> bool:
    """Return whether an expression is not 0 at one of some points, or has no value at any that could be 0."""
    domain = domain_of(tree, ZERO)
    num_values = 0
    for _, point in zip(range(NUM_POINTS), first_points(domain), strict=False):
        try:
            value, error = evaluate(tree, point, field)
        except TooLarge:
            return True
        except (Undefined, KeyError):
            continue
        num_values += 1
        if abs(value) > error:
            return True
    return not num_values


@cache
def _precise(digits: int) -> Field:
    return precise_field(digits)
