"""What is written behind or below an atom: indices, primes, degree signs, arguments of named functions, units.

Examples: `E_{1}` is the symbol E_1, `52_8` digits in base 8, `90^\\circ` degrees, `y''` a derivative, `f(x)` a symbol
of its own (but `n(n+1)` a product), `15 \\text{ cm}^2` a quantity.
"""

import re
from fractions import Fraction

from tbrm_bench.grading.read import units
from tbrm_bench.grading.read.cursor import Cursor
from tbrm_bench.grading.read.tokens import Token, Unreadable
from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.vocabulary import GREEK, words
from tbrm_bench.grading.read.words import NUMBER_WORDS

# "or 6", "(or 6, or 7)", ", 6": another value; "out of 30", "(mod 7)", "(to 3 s.f.)", "(120 hours)": a remark.
_ANOTHER_VALUE = re.compile(
    r"(?:\b(?:or|and|maybe|perhaps|possibly|alternatively|else|also|either)\b[\s,:(]*(?:[a-z]+\.?\s+)?[-+~]?\.?\d"
    r"|(?:^[\s=]*|[,;/(]\s*)[-+~]?\d[\d.,/]{0,40}\s*(?:$|[),;]|or\b|and\b))",
    re.IGNORECASE,
)

FUNCTION_LETTERS = frozenset("fghFGHPQST")  # f(-2) is a value of f, x(-2) a product
_INDEX_WORDS = words("max min in out eff tot total avg ave rms new old red opt crit net ext int esc rel sat")
_MAX_POINT = 14  # tokens
_POINT = re.compile(
    r"(?P<sign>-)? ?(?:(?P<above>\d+(?:\.\d+)?)(?: / (?P<below>\d+))?|frac \{ (?P<over>\d+) \} \{ (?P<under>\d+) \})"
)


def subscripted(base: Tree, name: str) -> Tree:
    """Return a symbol with an index, or digits in a base."""
    name = str(NUMBER_WORDS.get(name, name))
    if base[0] == "n" and base[1].denominator == 1 and name.isdigit() and len(name) < 4:
        return ("base", str(base[1]), int(name))
    if base[0] not in ("s", "c"):
        raise Unreadable("index of no symbol")
    return ("s", f"{base[1]}_{name}")


def script_name(cursor: Cursor) -> str:
    """Read an index, as one name without spaces: `_{\\text{max}}` and `_{max}` are the same."""
    if not cursor.accept("OP", "{"):
        token = cursor.next()
        if token.kind == "WORD" and token.value.lower() not in _INDEX_WORDS:  # m_pc^2 is m_p c^2, as TeX sets it
            cursor.insert([Token("WORD", token.value[1:])] if token.value[1:] else [])
            return token.value[0]
        return token.value
    depth, parts = 1, []
    while not cursor.at_end():
        token = cursor.next()
        depth += {"{": 1, "}": -1}.get(token.value, 0) if token.kind == "OP" else 0
        if depth == 0:
            break
        parts.append(token.value)
    return "".join(parts).replace(" ", "")


def factorial(cursor: Cursor, base: Tree) -> Tree:
    """Read `!` behind a value, or `!!`, the product of every second number and no factorial of a factorial."""
    cursor.next()
    name = "fact2" if cursor.accept("OP", "!") else "fact"
    if cursor.peek() == ("OP", "!", False):
        raise Unreadable("more than two factorial signs")
    return ("f", name, base)


def split_factorial(cursor: Cursor) -> None:
    """Read `5!=120` as what 5! is, since a number has no need to be said unequal to another."""
    cursor.next()
    cursor.insert([Token("OP", "!"), Token("OP", "=")])


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


def called(cursor: Cursor, name: str) -> str | None:
    """Read the arguments of a function of this name; None, and nothing read, where the brackets are a factor."""
    return application(cursor) or (point(cursor) if name.rstrip("'") in FUNCTION_LETTERS else None)


def point(cursor: Cursor) -> str | None:
    """Read `(-2)`, `(1/2)`, `(-\\frac{1}{2})` behind a letter of a function; None, and nothing read, else."""
    ahead, texts = 1, []
    while cursor.peek(ahead).value not in (")", "") and ahead < _MAX_POINT:
        texts.append(cursor.peek(ahead).value)
        ahead += 1
    match = _POINT.fullmatch(" ".join(texts))
    if match is None or cursor.peek(ahead).value != ")":
        return None
    for _ in range(ahead + 1):
        cursor.next()
    below = Fraction(match["below"] or match["under"] or 1)
    value = Fraction(match["above"] or match["over"]) / below if below else None
    return f"({'-' if match['sign'] else ''}{value})"


def unit(cursor: Cursor) -> units.Unit:
    """Read the unit behind a value: `\\text{ cm}^2`, `km/h`, `\\mathrm{photons} / \\mathrm{pulse}`."""
    total, power = units.NO_UNIT, 1
    while True:
        token = cursor.peek()
        if token.kind == "TEXT" or (token.kind == "WORD" and (power < 0 or units.is_unit_word(token.value))):
            if _ANOTHER_VALUE.search(token.value):
                raise Unreadable("another value in a unit")
            cursor.next()
            exponent = _unit_exponent(cursor)
            if exponent != 1 and not token.value.isalpha():  # m/s^2, km h^{-1}: the exponent is the last word's
                named, exponent = units.word_unit(f"{token.value}^{exponent}"), 1
            else:
                named = units.word_unit(token.value)
            if power < 0 and total != units.NO_UNIT:
                named = units.of_each(named)
            total = units.multiply(total, named, power * exponent)
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
    if not re.fullmatch(r"-?[1-9]", name):
        raise Unreadable("exponent of a unit")
    return int(name)
