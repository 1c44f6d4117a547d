"""Functions and their arguments: `\\sin^2 2x`, `\\log_2 (n+1)`, `\\arcsin{\\frac12}`, `exp(-t)`.

Without brackets a function takes the product that follows, up to the next sign or function: `\\sin 2t \\cos 3t` is
sin(2t) cos(3t). `\\log` without a base is the natural one, `\\tanh^{-1}` an inverse function, no quotient. A
determinant becomes what it is worth, `\\Gamma(n)` the factorial (n-1)!, `\\sqrt` and `\\exp` a root and a power.
"""

from collections.abc import Sequence
from fractions import Fraction

from tbrm_bench.grading.read.brackets import bracket
from tbrm_bench.grading.read.cursor import Cursor
from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.tokens import Unreadable
from tbrm_bench.grading.read.tree import Tree, items_of, name_of, walk
from tbrm_bench.grading.read.vocabulary import (
    BRACKETED,
    FUNCTIONS,
    INNER_WORDS,
    INVERTIBLE,
    NUM_ARGUMENTS,
    OF_SEVERAL,
    OPERATORS,
)

MAX_DETERMINANT = 4  # rows that are written out as a sum of products
MAX_DETERMINANT_PARTS = 200  # of its entries, each of which is written out up to six times
_OPENING = frozenset(("(", "[", "{", "\\{"))
_MINUS_ONE = (("n", Fraction(-1)), ("-", ("n", Fraction(1))))


def is_call(cursor: Cursor, name: str) -> bool:
    """Whether a name that was just read is a function here: some names are letters, words or units elsewhere."""
    return name in FUNCTIONS and (name not in BRACKETED or cursor.peek().value in _OPENING)


def is_operator(cursor: Cursor, name: str) -> bool:
    """Whether a name in upright type, or a command, that was just read is a function here."""
    return is_call(cursor, name) or (name in OPERATORS and cursor.starts_atom())


def is_mathematics(cursor: Cursor) -> bool:
    """Whether the next words, behind a value, are a function or a constant: sec is a second if nothing follows it."""
    name, behind = cursor.peek().value, cursor.peek(1)
    if name not in FUNCTIONS:
        return name in INNER_WORDS
    if name not in INNER_WORDS:
        return behind.value in _OPENING
    return behind.kind != "EOF" and behind.value not in (")", "]", "}", ",", ";", "=")


def call(parser: Reader, written: str) -> Tree:
    """Read exponent, base and argument of a function whose name was read."""
    cursor, name = parser.cursor, FUNCTIONS[written]
    base: Tree | None = None
    exponent: Tree | None = None
    while cursor.peek().kind == "OP" and cursor.peek().value in ("_", "^"):
        if cursor.next().value == "_":
            base = parser.script()
        else:
            exponent = parser.script()
    arguments = items_of(_argument(parser))
    if name in OF_SEVERAL and len(arguments) == 1 and arguments[0][0] == "set":
        arguments = arguments[0][1:]  # \\max\\{a, b\\}
    elif name not in OF_SEVERAL and len(arguments) != NUM_ARGUMENTS.get(name, 1):
        raise Unreadable("another number of arguments")
    if exponent in _MINUS_ONE and name in INVERTIBLE:
        return ("f", f"arc{name}", *arguments)
    tree = _applied(name, arguments, base)
    return tree if exponent is None else ("^", tree, exponent)


def _applied(name: str, arguments: Sequence[Tree], base: Tree | None) -> Tree:
    """Return a function of its arguments, in the shape that is kept for it."""
    first = arguments[0]
    if name in ("sqrt", "cbrt"):
        return ("root", first, ("n", Fraction(2 if name == "sqrt" else 3)))
    if name in ("exp", "cis"):
        return ("^", ("c", "e"), first if name == "exp" else ("*", ("c", "i"), first))
    if name == "lg":
        return ("f", "log", first, ("n", Fraction(10)))
    if name == "ln" and base is not None:
        return ("f", "log", first, base)
    if name == "gamma":
        return ("f", "fact", ("+", first, ("n", Fraction(-1))))
    if name == "det":
        return determinant(first[1]) if first[0] == "mat" else ("s", f"det({name_of(first)})")
    return ("f", name, *arguments)


def determinant(rows: Sequence[Sequence[Tree]]) -> Tree:
    """Return a determinant as a sum of products. Raises Unreadable if it has none, or too many."""
    if any(len(row) != len(rows) for row in rows) or len(rows) > MAX_DETERMINANT:
        raise Unreadable("no determinant")
    if sum(1 for row in rows for entry in row for _ in walk(entry)) > MAX_DETERMINANT_PARTS:
        raise Unreadable("a determinant too large to write out")
    if len(rows) == 1:
        return rows[0][0]
    terms: list[Tree] = []
    for column, entry in enumerate(rows[0]):
        term: Tree = ("*", entry, determinant([[*row[:column], *row[column + 1 :]] for row in rows[1:]]))
        terms.append(("-", term) if column % 2 else term)
    return ("+", *terms)


def _argument(parser: Reader) -> Tree:
    cursor = parser.cursor
    token = cursor.peek()
    if token.kind == "OP" and token.value in ("(", "[", "{", "|"):
        if token.value == "{":
            return parser.argument()
        cursor.next()
        return bracket(parser, token.value, spread=True)
    argument: Tree | None = None
    while cursor.starts_atom() and cursor.peek().kind != "TEXT" and not _is_function(cursor):
        factor = parser.power()
        argument = factor if argument is None else ("*", argument, factor)
    if argument is None and _is_function(cursor):
        argument = parser.power()
    if argument is None:
        raise Unreadable("function without argument")
    return argument


def _is_function(cursor: Cursor) -> bool:
    """Whether the next token names a function that is applied to what follows."""
    name = cursor.peek().value
    return name in FUNCTIONS and (name not in BRACKETED or cursor.peek(1).value in _OPENING)
