"""Functions and their arguments: `\\sin^2 2x`, `\\log_2 (n+1)`, `\\arcsin{\\frac12}`, `exp(-t)`.

Without brackets a function takes the product that follows, up to the next sign or function: `\\sin 2t \\cos 3t` is
sin(2t) cos(3t). `\\log` without a base is the natural one.
"""

from fractions import Fraction

from tbrm_bench.grading.read.brackets import bracket
from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.tokens import Unreadable
from tbrm_bench.grading.read.tree import Tree, items_of
from tbrm_bench.grading.read.vocabulary import FUNCTIONS


def call(parser: Reader, name: str) -> Tree:
    """Read exponent, base and argument of a function whose name was read."""
    cursor = parser.cursor
    base: Tree | None = None
    exponent: Tree | None = None
    while cursor.peek().kind == "OP" and cursor.peek().value in ("_", "^"):
        if cursor.next().value == "_":
            base = parser.script()
        else:
            exponent = parser.script()
    arguments = items_of(_argument(parser))
    if name == "sqrt":
        tree: Tree = ("root", arguments[0], ("n", Fraction(2)))
    elif name == "exp":
        tree = ("^", ("c", "e"), arguments[0])
    elif name == "cis":
        tree = ("^", ("c", "e"), ("*", ("c", "i"), arguments[0]))
    elif name == "lg":
        tree = ("f", "log", arguments[0], ("n", Fraction(10)))
    elif name == "ln" and base is not None:
        tree = ("f", "log", arguments[0], base)
    elif exponent == ("n", Fraction(-1)) and name in ("sin", "cos", "tan"):
        return ("f", f"arc{name}", *arguments)
    else:
        tree = ("f", name, *arguments)
    return tree if exponent is None else ("^", tree, exponent)


def _argument(parser: Reader) -> Tree:
    cursor = parser.cursor
    token = cursor.peek()
    if token.kind == "OP" and token.value in ("(", "[", "{", "|"):
        if token.value == "{":
            return parser.argument()
        cursor.next()
        return bracket(parser, token.value, spread=True)
    argument: Tree | None = None
    while cursor.starts_atom() and cursor.peek().kind != "TEXT" and cursor.peek().value not in FUNCTIONS:
        factor = parser.power()
        argument = factor if argument is None else ("*", argument, factor)
    if argument is None and cursor.peek().value in FUNCTIONS:
        argument = parser.power()
    if argument is None:
        raise Unreadable("function without argument")
    return argument
