"""The smallest parts of an answer: numbers, symbols, bracketed groups, functions, matrices, units.

`parse` calls these; they call its parser back for what stands inside brackets. Examples: `\\frac43` is 4/3,
`\\sin^2 x` is (sin x)^2, `E_{1}` is the symbol E_1, `f(x)` a symbol of its own, `n(n+1)` a product.
"""

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from tbrm_bench.grading import units
from tbrm_bench.grading.cursor import Cursor
from tbrm_bench.grading.limits import MAX_POWER_BITS
from tbrm_bench.grading.tokens import Token, Unreadable, tokenize
from tbrm_bench.grading.tree import Tree

if TYPE_CHECKING:
    from tbrm_bench.grading.parse import Parser

FUNCTIONS = {
    **{name: name for name in ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "exp", "max", "min", "gcd", "lcm"]},
    "arccot": "arccot", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "log": "ln", "lg": "lg", "sqrt": "sqrt",
    "abs": "abs", "floor": "floor", "ceil": "ceil", "cosec": "csc", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "Re": "re", "Im": "im", "arg": "arg",
}  # fmt: skip
GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "varrho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
    ]
)
SYMBOLS = GREEK | frozenset(
    [
        "hbar",
        "ell",
        "partial",
        "nabla",
        "odot",
        "angle",
        "triangle",
        "star",
        "aleph",
        "mho",
        "oplus",
        "dag",
        "dagger",
        "perp",
        "parallel",
    ]
)
ACCENTS = frozenset(
    [
        "dot",
        "ddot",
        "bar",
        "hat",
        "tilde",
        "overline",
        "widehat",
        "overrightarrow",
        "underline",
        "widetilde",
        "overbrace",
    ]
)
TRANSPARENT = frozenset(
    [
        "vec",
        "mathrm",
        "mathbf",
        "mathit",
        "text",
        "operatorname",
        "mbox",
        "boldsymbol",
        "mathcal",
        "rm",
        "bf",
        "bm",
        "mathsf",
    ]
)
CONSTANTS = {
    "pi": "pi",
    "infty": "inf",
    "infinity": "inf",
    "inf": "inf",
    "oo": "inf",
    "emptyset": "empty",
    "imath": "i",
}
FENCES = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil"), "lvert": ("rvert", "abs")}
MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix"))


def number(text: str) -> Tree:
    """Return the exact tree of a number as written: 12, .5, 4.5e33."""
    mantissa, _, exponent = text.lower().partition("e")
    value = Fraction(mantissa.rstrip(".") or "0")
    if not exponent:
        return ("n", value)
    if len(exponent) > 6 or abs(int(exponent)) * 4 > MAX_POWER_BITS:
        if len(exponent) > 12:
            raise Unreadable("exponent too large")
        return ("*", ("n", value), ("^", ("n", Fraction(10)), ("n", Fraction(int(exponent)))))
    return ("n", value * Fraction(10) ** int(exponent))


def atom(parser: "Parser") -> Tree:
    """Read one atom. Raises Unreadable."""
    token = parser.cursor.next()
    if token.kind == "NUMBER":
        return _number(parser, token)
    if token.kind == "WORD":
        return _word(parser, token)
    if token.kind == "TEXT":
        return _text(parser, token)
    if token.kind == "COMMAND":
        return _command(parser, token.value)
    if token.kind == "BEGIN" and token.value in MATRICES:
        return _matrix(parser)
    if token.kind == "OP":
        return _bracket(parser, token.value)
    raise Unreadable(f"{token.kind} {token.value!r}")


def _number(parser: "Parser", token: Token) -> Tree:
    cursor = parser.cursor
    if cursor.peek() == ("COMMAND", "overline", False) and "." in token.value:
        cursor.next()
        return _repeating(token.value, script_name(cursor))
    return number(token.value)


def _repeating(start: str, period: str) -> Tree:
    """Return 0.1\\overline{6} = 1/6."""
    if not period.isdigit() or len(period) > 50:
        raise Unreadable("repeating decimal")
    places = len(start.partition(".")[2])
    return ("n", Fraction(start.rstrip(".")) + Fraction(int(period), (10 ** len(period) - 1) * 10**places))


def _word(parser: "Parser", token: Token) -> Tree:
    word = token.value
    if word in FUNCTIONS:
        return function(parser, FUNCTIONS[word])
    if word in CONSTANTS:
        return ("c", CONSTANTS[word])
    if word in GREEK:
        return ("s", word)
    if len(word) == 1:
        return ("c", word) if word in "ei" and parser.cursor.peek().value != "_" else ("s", word)
    for name in ("sin", "cos", "tan", "log", "ln", "exp", "sqrt"):
        if word.startswith(name) and len(word) <= len(name) + 2:
            parser.cursor.insert([Token("WORD", word[len(name) :])] if len(word) > len(name) else [])
            return function(parser, FUNCTIONS[name])
    if word.endswith("pi") and len(word) == 3:
        parser.cursor.insert([Token("WORD", "pi")])
        return _letter(word[0])
    if len(word) >= 4 and not word.isupper():
        raise Unreadable("a word")
    parser.cursor.insert([Token("WORD", letter) for letter in word[1:]])
    return _letter(word[0])


def _letter(letter: str) -> Tree:
    return ("c", letter) if letter in "ei" else ("s", letter)


def _text(parser: "Parser", token: Token) -> Tree:
    content = token.value
    if content in FUNCTIONS:
        return function(parser, FUNCTIONS[content])
    if any(char.isdigit() for char in content):
        tokens = tokenize(content.replace("^", " ^ "), grouped=True)
        parser.cursor.insert(tokens)
        return atom(parser)
    if len(content) == 1 and content.isalpha() and not parser.cursor.at_end():
        return ("s", content)
    return ("text", content)


def _command(parser: "Parser", name: str) -> Tree:
    if name == "frac":
        return _fraction(parser.argument(), parser.argument())
    if name == "sqrt":
        return _root(parser)
    if name in FUNCTIONS:
        return function(parser, FUNCTIONS[name])
    if name in CONSTANTS:
        return ("c", CONSTANTS[name])
    if name in SYMBOLS:
        return ("s", name)
    if name in FENCES:
        closer, meaning = FENCES[name]
        return ("f", meaning, parser.bracketed((closer,))[0])
    if name == "binom":
        return ("f", "binom", parser.argument(), parser.argument())
    if name in ACCENTS:
        return ("s", f"{name}({_name(parser.argument())})")
    if name in TRANSPARENT:
        return parser.argument()
    if name == "mathbb":
        return ("c", _name(parser.argument()))
    if name == "varnothing":
        return ("c", "empty")
    if name in ("dollar", "euro", "pounds"):
        return ("q", parser.power(), units.word_unit(name))
    if name == "langle":
        inner, _ = parser.bracketed(("rangle",))
        return ("br", "<", ">", *_items(inner))
    raise Unreadable(f"command {name}")


def _fraction(above: Tree, below: Tree) -> Tree:
    """Return a quotient, or the symbol of a derivative for \\frac{dy}{dx}."""
    differentials = [_differential(above), _differential(below)]
    if all(differentials) and above != ("s", "d"):
        return ("s", "/".join(map(str, differentials)))
    return ("/", above, below)


def _differential(tree: Tree) -> str | None:
    if tree[0] == "*" and (tree[1] == ("s", "d") or (tree[1][0] == "^" and tree[1][1] == ("s", "d"))):
        return _name(tree)
    return None


def _root(parser: "Parser") -> Tree:
    degree: Tree = ("n", Fraction(2))
    if parser.cursor.accept("OP", "["):
        degree = parser.bracketed(("]",))[0]
    if parser.cursor.peek().kind == "NUMBER":  # sqrt12 means the root of 12, whatever TeX would print
        return ("root", atom(parser), degree)
    return ("root", parser.argument(), degree)


def function(parser: "Parser", name: str) -> Tree:
    """Read exponent, base and argument of a function whose name was read."""
    cursor = parser.cursor
    base: Tree | None = None
    exponent: Tree | None = None
    while cursor.peek().kind == "OP" and cursor.peek().value in ("_", "^"):
        if cursor.next().value == "_":
            base = parser.script()
        else:
            exponent = parser.script()
    arguments = _items(_argument(parser))
    if name == "sqrt":
        tree: Tree = ("root", arguments[0], ("n", Fraction(2)))
    elif name == "exp":
        tree = ("^", ("c", "e"), arguments[0])
    elif name == "lg":
        tree = ("f", "log", arguments[0], ("n", Fraction(10)))
    elif name == "ln" and base is not None:
        tree = ("f", "log", arguments[0], base)
    elif exponent == ("-", ("n", Fraction(1))) and name in ("sin", "cos", "tan"):
        return ("f", f"arc{name}", *arguments)
    else:
        tree = ("f", name, *arguments)
    return tree if exponent is None else ("^", tree, exponent)


def _argument(parser: "Parser") -> Tree:
    cursor = parser.cursor
    token = cursor.peek()
    if token.kind == "OP" and token.value in ("(", "[", "{", "|"):
        if token.value == "{":
            return parser.argument()
        cursor.next()
        return _bracket(parser, token.value, spread=True)
    argument: Tree | None = None
    while cursor.starts_atom() and cursor.peek().kind != "TEXT" and cursor.peek().value not in FUNCTIONS:
        factor = parser.power()
        argument = factor if argument is None else ("*", argument, factor)
    if argument is None and cursor.peek().value in FUNCTIONS:
        argument = parser.power()
    if argument is None:
        raise Unreadable("function without argument")
    return argument


def _bracket(parser: "Parser", opening: str, *, spread: bool = False) -> Tree:
    if opening == "{":
        inner, _ = parser.bracketed(("}",))
        return ("set", *inner[1:]) if inner[0] == "list" else inner
    if opening == "\\{":
        if parser.cursor.accept("OP", "\\}"):
            return ("c", "empty")
        inner, _ = parser.bracketed(("\\}",))
        return ("set", *_items(inner))
    if opening == "|":
        parser.cursor.bars += 1
        inner, _ = parser.bracketed(("|",))
        parser.cursor.bars -= 1
        return ("f", "abs", inner)
    if opening not in ("(", "["):
        raise Unreadable(f"operator {opening!r}")
    bars, parser.cursor.bars = parser.cursor.bars, 0
    inner, closing = parser.bracketed((")", "]"))
    parser.cursor.bars = bars
    if inner[0] == "list":
        return inner if spread else ("br", opening, closing, *inner[1:])
    if (opening, closing) not in (("(", ")"), ("[", "]")):
        raise Unreadable("brackets that do not match")
    return inner


def _items(tree: Tree) -> tuple[Tree, ...]:
    return tree[1:] if tree[0] == "list" else (tree,)


def _matrix(parser: "Parser") -> Tree:
    rows: list[tuple[Tree, ...]] = []
    row: list[Tree] = []
    while True:
        row.append(parser.item())
        token = parser.cursor.next()
        if token.kind == "OP" and token.value == "&":
            continue
        if token.kind not in ("ROW", "END"):
            raise Unreadable("matrix")
        rows.append(tuple(row))
        row = []
        if token.kind == "END" or parser.cursor.peek().kind == "END":
            if token.kind == "ROW":
                parser.cursor.next()
            break
    if len({len(cells) for cells in rows}) != 1:
        raise Unreadable("rows of different length")
    return ("mat", tuple(rows))


def subscripted(base: Tree, name: str) -> Tree:
    """Return a symbol with an index, or digits in a base."""
    if base[0] == "n" and base[1].denominator == 1 and name.isdigit() and len(name) < 4:
        return ("base", str(base[1]), int(name))
    if base[0] not in ("s", "c"):
        raise Unreadable("index of no symbol")
    return ("s", f"{base[1]}_{name}")


def script_name(cursor: Cursor) -> str:
    """Read an index, as one name without spaces: `_{\\text{max}}` and `_{max}` are the same."""
    if not cursor.accept("OP", "{"):
        return cursor.next().value
    depth, parts = 1, []
    while not cursor.at_end():
        token = cursor.next()
        depth += {"{": 1, "}": -1}.get(token.value, 0) if token.kind == "OP" else 0
        if depth == 0:
            break
        parts.append(token.value)
    return "".join(parts).replace(" ", "")


def special_exponent(cursor: Cursor) -> str | None:
    """Read an exponent that is none: a degree sign ("degree") or primes; None, and nothing read, for any other."""
    braced = cursor.peek().value == "{"
    primes, ahead = 0, int(braced)
    while cursor.peek(ahead).value in ("prime", "'"):
        primes, ahead = primes + 1, ahead + 1
    is_degree = not primes and cursor.peek(ahead).value in ("circ", "degree") and cursor.peek(ahead).kind == "COMMAND"
    ahead += int(is_degree)
    if not (primes or is_degree) or (braced and cursor.peek(ahead).value != "}"):
        return None
    for _ in range(ahead + int(braced)):
        cursor.next()
    return "degree" if is_degree else "'" * primes


def application(cursor: Cursor) -> str | None:
    """Read `(x)`, `(0)`, `(x, y)` behind a symbol, which makes it a function's value; None, and nothing read, else."""
    ahead, names = 1, []
    while True:
        token = cursor.peek(ahead)
        if not (token.kind == "NUMBER" or (token.kind == "WORD" and len(token.value) == 1) or token.value in GREEK):
            return None
        names.append(token.value)
        separator = cursor.peek(ahead + 1)
        ahead += 2
        if separator.kind == "OP" and separator.value == ")":
            break
        if separator.kind != "OP" or separator.value != ",":
            return None
    for _ in range(ahead):
        cursor.next()
    return f"({','.join(names)})"


def unit(cursor: Cursor) -> units.Unit:
    """Read the unit behind a value: `\\text{ cm}^2`, `km/h`, `\\mathrm{m} / \\mathrm{s}`."""
    total, power = units.NO_UNIT, 1
    while True:
        token = cursor.peek()
        if token.kind == "TEXT" or (token.kind == "WORD" and (power < 0 or units.is_unit_word(token.value))):
            cursor.next()
            total = units.multiply(total, units.word_unit(token.value), power * _unit_exponent(cursor))
            power = 1
        elif token.value in ("/", "cdot", "times") and cursor.peek(1).kind in ("TEXT", "WORD"):
            cursor.next()
            power = -1 if token.value == "/" else 1
        else:
            return total


def _unit_exponent(cursor: Cursor) -> int:
    if not cursor.accept("OP", "^"):
        return 1
    name = script_name(cursor)
    if not re.fullmatch(r"-?\d", name):
        raise Unreadable("exponent of a unit")
    return int(name)


def _name(tree: Tree) -> str:
    """Return a tree as one short name."""
    if tree[0] in ("s", "c", "text"):
        return str(tree[1])
    if tree[0] == "n":
        return str(tree[1])
    return tree[0] + "(" + ",".join(_name(part) for part in tree[1:] if isinstance(part, tuple)) + ")"
