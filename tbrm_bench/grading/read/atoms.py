"""The smallest parts of an answer: numbers, symbols, bracketed groups, matrices.

`parse` calls these; they call it back, as a `Reader`, for what is inside brackets. Examples: `\\frac43` is 4/3,
`1.1\\overline{6}` is 7/6, `ab` is a times b, `\\{1,2\\}` is a set and `(1,2]` a row with its brackets.
"""

import re
from fractions import Fraction
from functools import lru_cache

from tbrm_bench.grading.limits import MAX_POWER_BITS
from tbrm_bench.grading.read import cases, functions, units
from tbrm_bench.grading.read.brackets import bracket
from tbrm_bench.grading.read.build import divide
from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.scripts import script_name
from tbrm_bench.grading.read.tokens import Token, Unreadable, tokenize
from tbrm_bench.grading.read.tree import DOTS, Tree, Written, items_of, name_of
from tbrm_bench.grading.read.vocabulary import (
    ACCENTS,
    CONSTANTS,
    CURRENCIES,
    ELLIPSES,
    FENCES,
    GREEK,
    LETTER_CONSTANTS,
    MATRICES,
    SETS_IN_WORDS,
    SYMBOLS,
    TRANSPARENT,
)


@lru_cache(maxsize=4096)
def number(text: str) -> Tree:
    """Return the exact tree of a number as written: 12, .5, 4.5e33."""
    if text.isdecimal():
        return ("n", Written(int(text), 0))
    mantissa, _, exponent = text.lower().partition("e")
    value = Written(Fraction(mantissa.rstrip(".") or "0"), -len(mantissa.partition(".")[2]))
    if not exponent:
        return ("n", value)
    if len(exponent) > 6 or abs(int(exponent)) * 4 > MAX_POWER_BITS:
        if len(exponent) > 12:
            raise Unreadable("exponent too large")
        return ("*", ("n", value), ("^", ("n", Fraction(10)), ("n", Fraction(int(exponent)))))
    return ("n", Written(value * Fraction(10) ** int(exponent), value.last + int(exponent)))


def atom(parser: Reader) -> Tree:
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
        rows = _matrix(parser)
        if token.value == "array" and len(rows[1]) == len(rows[1][0]) == 1:
            return rows[1][0][0]  # type: ignore[no-any-return]  # only there to be centred
        return functions.determinant(rows[1]) if token.value == "vmatrix" else rows
    if token.kind == "BEGIN" and token.value in cases.ENVIRONMENTS:
        return cases.read_cases(parser)
    if token.kind == "OP":
        return bracket(parser, token.value)
    raise Unreadable(f"{token.kind} {token.value!r}")


def _number(parser: Reader, token: Token) -> Tree:
    cursor = parser.cursor
    if cursor.peek() == ("COMMAND", "overline", False) and "." in token.value:
        cursor.next()
        return _repeating(token.value, script_name(cursor))
    return number(token.value)


def mixed_number(parser: Reader, left: Tree) -> Tree:
    """Read `2 1/3`; two numbers side by side are nothing else."""
    numerator = number(parser.cursor.next().value)
    if left[1].denominator == 1 and parser.cursor.accept("OP", "/"):
        denominator = parser.cursor.peek()
        if denominator.kind == "NUMBER":
            parser.cursor.next()
            below = number(denominator.value)
            if 0 < numerator[1] < below[1]:
                return ("n", left[1] + numerator[1] / below[1])
    raise Unreadable("two numbers side by side")


def _repeating(start: str, period: str) -> Tree:
    """Return 0.1\\overline{6} = 1/6."""
    if not period.isdigit() or len(period) > 50:
        raise Unreadable("repeating decimal")
    places = len(start.partition(".")[2])
    return ("n", Fraction(start.rstrip(".")) + Fraction(int(period), (10 ** len(period) - 1) * 10**places))


def _word(parser: Reader, token: Token) -> Tree:
    word = token.value
    if functions.is_call(parser.cursor, word):
        _plain_base(parser, word)
        return functions.call(parser, word)
    if word in CONSTANTS:
        return ("c", CONSTANTS[word])
    if word in GREEK:
        return ("s", word)
    if len(word) == 1:
        return ("c", word) if word in "ei" and parser.cursor.peek().value != "_" else ("s", word)
    for name in ("sinh", "cosh", "tanh", "sin", "cos", "tan", "log", "ln", "exp", "sqrt"):
        if word.startswith(name) and len(word) <= len(name) + 2:
            parser.cursor.insert([Token("WORD", word[len(name) :])] if len(word) > len(name) else [])
            return functions.call(parser, name)
    if word.endswith("pi") and len(word) == 3:
        parser.cursor.insert([Token("WORD", "pi")])
        return _letter(word[0])
    if len(word) >= 4 and not word.isupper():
        raise Unreadable("a word")
    parser.cursor.insert([Token("WORD", letter) for letter in word[1:]])
    return _letter(word[0])


def _plain_base(parser: Reader, word: str) -> None:
    """Make log2(8) and log10(x), as they are written in plain text, log_2 and log_10."""
    token, bracket_ahead = parser.cursor.peek(), parser.cursor.peek(1)
    if word == "log" and token in (("NUMBER", "2", False), ("NUMBER", "10", False)) and bracket_ahead.value == "(":
        parser.cursor.next()
        parser.cursor.insert([Token("OP", "_"), Token("OP", "{"), token, Token("OP", "}")])


def _letter(letter: str) -> Tree:
    return ("c", letter) if letter in "ei" else ("s", letter)


def _text(parser: Reader, token: Token) -> Tree:
    content = token.value
    if functions.is_operator(parser.cursor, content):
        return functions.call(parser, content)
    if any(char.isdigit() for char in content):
        tokens = tokenize(content.replace("^", " ^ "), grouped=True)
        parser.cursor.insert(tokens)
        return parser.signed_power()
    if (meaning := SETS_IN_WORDS.get(content.lower().removeprefix("the "))) is not None:
        return ("c", meaning)
    if content in LETTER_CONSTANTS and parser.cursor.peek().value != "_":
        return ("c", LETTER_CONSTANTS[content])
    if len(content) == 1 and content.isalpha() and (content.islower() or not parser.cursor.at_end()):
        return ("s", content)
    return ("text", content)


def _command(parser: Reader, name: str) -> Tree:
    if name == "frac":
        return _fraction(parser.argument(), parser.argument())
    if name == "sqrt":
        return _root(parser)
    if functions.is_operator(parser.cursor, name):
        return functions.call(parser, name)
    if name in CONSTANTS:
        return ("c", CONSTANTS[name])
    if name == "angle" and (token := parser.cursor.peek()).kind == "WORD" and re.fullmatch("[A-Z]{3}", token.value):
        parser.cursor.next()
        return ("s", f"angle({min(token.value, token.value[::-1])})")  # ABC is CBA and not BAC
    if name in SYMBOLS:
        return ("s", name)
    if name in FENCES:
        closer, meaning = FENCES[name]
        return ("f", meaning, parser.bracketed((closer,))[0])
    if name == "binom":
        return ("f", "binom", parser.argument(), parser.argument())
    if name in ACCENTS:
        return ("s", f"{name}({name_of(parser.argument())})")
    if name in TRANSPARENT:
        return parser.argument()
    if name == "mathbb":
        return ("c", name_of(parser.argument()))
    if name in CURRENCIES:
        return ("q", parser.product(), units.word_unit(name))  # $2.4 million is 2.4 times a million
    if name in ELLIPSES:
        parser.cursor.has_dots = True
        return DOTS
    if name == "langle":
        inner, _ = parser.bracketed(("rangle",))
        return ("br", "<", ">", *items_of(inner))
    raise Unreadable(f"command {name}")


def _fraction(above: Tree, below: Tree) -> Tree:
    """Return a quotient, or the symbol of a derivative for \\frac{dy}{dx}."""
    differentials = [_differential(above), _differential(below)]
    if all(differentials) and above != ("s", "d"):
        return ("s", "/".join(map(str, differentials)))
    return divide(above, below)


def _differential(tree: Tree) -> str | None:
    if tree[0] == "*" and (tree[1] == ("s", "d") or (tree[1][0] == "^" and tree[1][1] == ("s", "d"))):
        return name_of(tree)
    return None


def _root(parser: Reader) -> Tree:
    degree: Tree = ("n", Fraction(2))
    if parser.cursor.accept("OP", "["):
        degree = parser.bracketed(("]",))[0]
    if parser.cursor.peek().kind == "NUMBER":  # sqrt12 means the root of 12, whatever TeX would print
        return ("root", atom(parser), degree)
    return ("root", parser.argument(), degree)


def _matrix(parser: Reader) -> Tree:
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
