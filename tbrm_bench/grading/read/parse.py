"""Read a cleaned answer into a tree: a recursive descent over LaTeX and plain mathematics, bounded, free of effects.

    answer   = item { ("," | ";" | "and" | "or") item }          lists
    item     = sets { relation sets }                            equations, inequalities, membership
    sets     = sum { (\\cup | \\cap | \\setminus) sum }
    sum      = [sign] product { ("+" | "-" | \\pm | \\mp) product }
    product  = power { ("*" | "/" | nothing) power }             left to right: 1/2x is (1/2)x
    power    = atom { "!" | "'" | "%" | degree | "_" sub | "^" power }

Example: `x = 1\\frac{1}{2} \\text{ cm}` gives ("rel", "=", ("s", "x"), ("q", ("n", 3/2), (("length", 1),), 1/100)).

A comma inside a number has two readings; `readings` returns both where they differ. Whatever does not fit raises
Unreadable; nothing is ever evaluated here.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

from tbrm_bench.grading.limits import MAX_ITEMS, MAX_TREE_DEPTH
from tbrm_bench.grading.read import atoms, functions, scripts
from tbrm_bench.grading.read.build import add, are_conditions, divide, is_mixed, joined, multiply, of_all
from tbrm_bench.grading.read.clauses import without_clauses
from tbrm_bench.grading.read.congruence import with_modulus
from tbrm_bench.grading.read.counted import takes_back
from tbrm_bench.grading.read.cursor import Cursor
from tbrm_bench.grading.read.ellipses import gathered
from tbrm_bench.grading.read.joints import joints_at
from tbrm_bench.grading.read.provisos import spelt_out
from tbrm_bench.grading.read.tokens import Token, Unreadable, tokenize
from tbrm_bench.grading.read.tree import Tree, depth
from tbrm_bench.grading.read.units import DEGREE, PERCENT, is_unit_word
from tbrm_bench.grading.read.vocabulary import (
    JOINTS,
    OVER,
    RELATIONS,
    SET_OPERATIONS,
    TIMES,
)
from tbrm_bench.grading.read.whole import as_a_whole, groupings, plain_number

_LEADS_IN = re.compile(r"(?:\b(?:is|are)|[:=])$")
_SPACED_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?")


@lru_cache(maxsize=16384)
def readings(text: str) -> tuple[Tree, ...]:
    """Return the trees that a cleaned answer may mean, most likely first; none if it is unreadable."""
    if (plain := plain_number(text)) is not None:
        return (plain,)
    found: list[Tree] = []
    text = without_clauses(text)
    text = spelt_out(text)
    if (special := as_a_whole(text, readings)) is not None:
        return (special,)
    for grouped in groupings(text):
        try:
            tree = Parser(Cursor(tokenize(text, grouped=grouped))).answer()
        except (Unreadable, RecursionError):
            continue
        if tree not in found:
            found.append(tree)
    if not found and _SPACED_THOUSANDS.fullmatch(text):
        return readings(text.replace(" ", ""))
    return tuple(found)


class Parser:
    """One reading of one answer."""

    def __init__(self, cursor: Cursor) -> None:
        """Start at the cursor's first token."""
        self.cursor = cursor

    def answer(self) -> Tree:
        """Read everything."""
        if RELATIONS.get(self.cursor.peek().value) in ("=", "approx"):
            self.cursor.next()  # = 5
        lead = self.cursor.peek()
        if lead.kind == "TEXT" and _LEADS_IN.search(lead.value) and not takes_back(lead.value):
            self.cursor.next()  # \\text{The answer is } 5
        tree = self.items(closers=())
        if not self.cursor.at_end():
            raise Unreadable(f"rest {self.cursor.peek()}")
        if depth(tree) > MAX_TREE_DEPTH:
            raise Unreadable("too deep")
        return gathered(tree) if self.cursor.has_dots else tree

    def apart(self, tokens: Sequence[Token]) -> Tree:
        """Read tokens that were taken out of the row, all of them."""
        inner = Parser(Cursor(tokens))
        tree = inner.answer()
        self.cursor.has_dots = self.cursor.has_dots or inner.cursor.has_dots
        return tree

    def items(self, closers: tuple[str, ...]) -> Tree:
        """Read a list up to a closing bracket or the end; a single item stands for itself."""
        items: list[Tree] = []
        joints: set[str] = set()
        while True:
            found = joints_at(self.cursor)
            closes = self.cursor.peek().value in closers and (bool(items) or closers != ("|",))  # ||a| - 1|
            if self.cursor.at_end() or closes or (items and not found):
                break
            joints |= found if items else set()
            items.append(self.item())
            if len(items) > MAX_ITEMS:
                raise Unreadable("too many items")
        if not items:
            raise Unreadable("nothing")
        if len(items) > 1 and len(joints - {""}) == 1 and are_conditions(items):
            return joined(items, max(joints))
        return items[0] if len(items) == 1 else ("list", *items)

    def item(self) -> Tree:
        """Read one element of a list: an expression, or a chain of relations."""
        sides, operators = [self.sets()], []
        while True:
            operator = self._relation()
            if operator is None:
                break
            operators.append(operator)
            sides.append(self.sets())
        tree: Tree = sides[0]
        if operators:
            is_one = len(operators) == 1
            tree = ("rel", operators[0], *sides) if is_one else ("chain", tuple(operators), tuple(sides))
        return with_modulus(self, tree)

    def _relation(self) -> str | None:
        token = self.cursor.peek()
        if token.kind in ("OP", "COMMAND") and token.value in RELATIONS:
            self.cursor.next()
            if token.value in "<>" and self.cursor.accept("OP", "="):
                return RELATIONS[token.value + "="]
            return RELATIONS[token.value]
        return None

    def sets(self) -> Tree:
        """Read a union, intersection or difference, left to right."""
        left = self.sum()
        while (token := self.cursor.peek()).kind == "COMMAND" and token.value in SET_OPERATIONS:
            self.cursor.next()
            left = (SET_OPERATIONS[token.value], left, self.sum())
        return left

    def sum(self) -> Tree:
        """Read a sum with its signs."""
        total: Tree | None = None
        while True:
            token = self.cursor.peek()
            if token.kind in ("OP", "COMMAND") and token.value in ("+", "-", "pm", "mp"):
                self.cursor.next()
                operator = token.value
            elif total is None:
                operator = "+"
            elif self.cursor.accept("COMMAND", "bmod"):  # 5 + 3 \bmod 7 is 1
                total = ("f", "mod", total, self.product())
                continue
            else:
                return of_all(total)
            total = add(total, operator, self.product())

    def product(self) -> Tree:
        """Read a product, its division signs and the unit behind it."""
        left = self.signed_power()
        while True:
            token = self.cursor.peek()
            if token.kind in ("OP", "COMMAND") and token.value in TIMES:
                self.cursor.next()
                left = multiply(left, self.signed_power())
            elif token.kind in ("OP", "COMMAND") and token.value in OVER:
                self.cursor.next()
                left = divide(left, self.signed_power())
            elif (token.kind == "TEXT" and not functions.is_mathematics(self.cursor)) or (
                token.kind == "WORD" and is_unit_word(token.value)
            ):
                if token.value.strip(" ,").lower() in JOINTS:
                    return left
                left = ("q", left, scripts.unit(self.cursor))
            elif self.cursor.starts_atom():
                left = self._implicit(left)
            else:
                return left

    def _implicit(self, left: Tree) -> Tree:
        token = self.cursor.peek()
        if left[0] == "n" and token.kind == "NUMBER":
            return atoms.mixed_number(self, left)
        right = self.power()
        value, unit = (right[1], right[2:]) if right[0] == "q" else (right, ())  # 12\\frac12\\% is 12.5 %
        if is_mixed(left, value, token.value):
            mixed = ("n", left[1] + Fraction(value[1][1], value[2][1]))
            return ("q", mixed, *unit) if unit else mixed
        return multiply(left, right)

    def signed_power(self) -> Tree:
        """Read a power that may carry its own sign, as after a multiplication sign."""
        if self.cursor.accept("OP", "-"):
            return ("-", self.signed_power())
        if self.cursor.accept("OP", "+"):
            return self.signed_power()
        return self.power()

    def power(self) -> Tree:
        """Read an atom and what is written behind it."""
        named = self.cursor.peek().kind != "OP"  # f(x) is a value of f, (f)(x) a product
        with self.cursor.deeper():
            return self.suffixes(atoms.atom(self), named=named)

    def suffixes(self, base: Tree, *, named: bool) -> Tree:
        """Read factorials, primes, percent signs, degrees, subscripts and exponents behind `base`."""
        while True:
            token = self.cursor.peek()
            if token.kind == "OP" and token.value == "!":
                base = scripts.factorial(self.cursor, base)
            elif token == ("OP", "!=", False) and base[0] == "n":
                scripts.split_factorial(self.cursor)
            elif token.kind == "OP" and token.value == "'" and base[0] == "s":
                self.cursor.next()
                base = ("s", base[1] + "'")
            elif token.kind == "OP" and token.value == "%":
                self.cursor.next()
                base = ("q", base, PERCENT)
            elif token.value == "(" and named and base[0] == "s" and (call := scripts.called(self.cursor, base[1])):
                base = ("s", base[1] + call)
            elif token.kind == "OP" and token.value == "_":
                self.cursor.next()
                base = scripts.subscripted(base, scripts.script_name(self.cursor))
            elif token.kind == "OP" and token.value == "^":
                self.cursor.next()
                base = self._exponent(base)
            elif token.kind == "COMMAND" and token.value in ("circ", "degree", "prime"):
                self.cursor.next()
                base = ("q", base, DEGREE) if token.value != "prime" else ("s", str(base[1]) + "'")
            else:
                return base

    def _exponent(self, base: Tree) -> Tree:
        name = scripts.special_exponent(self.cursor)
        if name == "degree":
            return ("q", base, DEGREE)
        if name is not None:
            if base[0] != "s":
                raise Unreadable("prime of no symbol")
            return ("s", base[1] + name)
        exponent = self.script()
        if base[0] == "q":  # 15 cm^2 without \text is read as a symbol; a quantity has no powers
            raise Unreadable("power of a quantity")
        if base[0] == "f" and base[1] in ("sin", "cos", "tan") and len(base) == 2:
            raise Unreadable("function without argument")
        return ("^", base, exponent)

    def script(self) -> Tree:
        """Read an exponent: a group, or one signed atom."""
        if self.cursor.accept("OP", "{"):
            with self.cursor.deeper():
                inner = self.items(closers=("}",))
            self.cursor.expect("}")
            return inner
        if self.cursor.accept("OP", "-"):
            return ("-", self.power())
        with self.cursor.deeper():
            return atoms.atom(self)

    def argument(self) -> Tree:
        """Read the argument of a LaTeX command: a group, or one token (one digit of a number)."""
        if self.cursor.accept("OP", "{"):
            with self.cursor.deeper():
                inner = self.items(closers=("}",))
            self.cursor.expect("}")
            return inner
        self.cursor.split_number()
        with self.cursor.deeper():
            return atoms.atom(self)

    def bracketed(
        self, closers: tuple[str, ...], read: Callable[[tuple[str, ...]], Tree] | None = None
    ) -> tuple[Tree, str]:
        """Read a list up to one of the closing brackets; return both."""
        with self.cursor.deeper():
            inner = (read or self.items)(closers)
        closing = self.cursor.next()
        if closing.value not in closers:
            raise Unreadable("bracket not closed")
        return inner, closing.value
