"""The shapes of a read answer: nested tuples whose first element names the shape.

    ("n", Fraction)                    a number, exact: 0.5, 12, 4.5e33; Written, where it was read
    ("c", name)                        a constant: pi, e, i, inf, R, empty
    ("s", name)                        a symbol: x, x_0, lambda_red, f(x)
    ("+", a, b, ...) ("*", a, b, ...)  ("/", a, b)  ("-", a)  ("^", a, b)  ("root", a, n)
    ("f", name, a, ...)                a function: sin, ln, log (argument, base), floor, abs, fact, binom, max, ...
    ("+-", a, b) ("-+", a, b)          a plus-minus b: two values
    ("list", a, ...)                   a, b, c without brackets: any order        ("set", a, ...)  {a, b, c}
    ("br", "(", "]", a, b)             a bracketed row: tuple, point, interval; brackets and order count
    ("rel", op, a, b)                  a relation; op is = < <= > >= != in approx to mid
    ("union" | "inter" | "minus", a, b)  of sets
    ("chain", ops, sides)              1 < x < 2
    ("mod", a, m)                      a relation or value modulo m
    ("dots",)                          an ellipsis, in ("seq", a, ...) a list, ("ell", "+", a, ...) a sum or product
    ("cases", ("case", a, condition), ...)   the last condition may be ("otherwise",)
    ("such", row, condition)           all rows that fulfil a condition
    ("mat", (row, ...))                a matrix, each row a tuple
    ("q", a, unit)                     a quantity; percent and degrees are units
    ("base", digits, base)             digits in a base
    ("text", words)                    words

Tuples compare and hash as values, cost nothing to make, and hold no code.
"""

from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]


class Written(Fraction):
    """A number as written: 0.330 is 33/100 with its last digit at 10^-3. It equals the number that it is."""

    __slots__ = ("last",)
    last: int  # the power of ten of its last digit

    def __new__(cls, value: Fraction | int, last: int) -> "Written":
        """Keep the place of the last digit beside the value."""
        self = super().__new__(cls, value)
        self.last = last
        return self

    def __eq__(self, other: object) -> bool:
        """Whether it is the same number; compared so often that the general way would be felt."""
        if isinstance(other, Fraction):
            return self.numerator == other.numerator and self.denominator == other.denominator
        return super().__eq__(other)

    def __hash__(self) -> int:  # type: ignore[override]  # of Complex, which has none
        """Return the hash of the number, which for a whole one is that of an int."""
        return hash(self.numerator) if self.denominator == 1 else super().__hash__()

    def __neg__(self) -> "Written":
        """Return the number with the other sign, written to the same digit."""
        return Written(Fraction.__neg__(self), self.last)

    def __repr__(self) -> str:
        """Return what its value is shown as: terms are put in order by it."""
        return f"Fraction({self.numerator}, {self.denominator})"


DOTS: Tree = ("dots",)  # an ellipsis: more of the same
TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}  # relations read from the other side
ZERO: Tree = ("n", Fraction(0))
ONE: Tree = ("n", Fraction(1))
_LEAVES = frozenset(("n", "s", "c", "text"))


def number(value: int | Fraction) -> Tree:
    """Return the tree of an exact number."""
    return ("n", value if type(value) is Fraction else Fraction(value))


def children(tree: Tree) -> list[Tree]:
    """Return the direct parts of a tree that are trees."""
    found: list[Tree] = []
    for part in tree[1:]:
        if isinstance(part, tuple) and part:
            if isinstance(part[0], str):
                found.append(part)
            else:  # the rows of a matrix, the sides of a chain
                for inner in part:
                    if isinstance(inner, tuple) and inner and isinstance(inner[0], str):
                        found.append(inner)
                    elif isinstance(inner, tuple):
                        found += [cell for cell in inner if isinstance(cell, tuple) and cell]
    return found


def walk(tree: Tree) -> list[Tree]:
    """Return the tree and everything below it."""
    found, stack = [], [tree]
    while stack:
        top = stack.pop()
        found.append(top)
        if top[0] in _LEAVES:
            continue
        if top[0] != "q":
            stack += children(top)
        else:
            stack.append(top[1])
    return found


def symbols(tree: Tree) -> set[str]:
    """Return the names of the free symbols."""
    return {part[1] for part in walk(tree) if part[0] == "s"}


def depth(tree: Tree) -> int:
    """Return how many levels a tree has, without recursion."""
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [part for top in level for part in children(top)]
    return deepest


def items_of(tree: Tree) -> tuple[Tree, ...]:
    """Return the items of a list; any other tree is its own only item."""
    return tree[1:] if tree[0] == "list" else (tree,)


def name_of(tree: Tree) -> str:
    """Return a tree as one short name."""
    if tree[0] in ("s", "c", "text", "n"):
        return str(tree[1])
    return str(tree[0]) + "(" + ",".join(name_of(part) for part in tree[1:] if isinstance(part, tuple)) + ")"
