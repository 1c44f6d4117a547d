"""Answers that are read as a whole, before any grammar: digits with letters, ratios, numbers in words.

Examples: `2A7_{12}` is digits in base 12, `2:3:5` a ratio, "forty percent" a quantity.
"""

import re
from collections.abc import Callable

from tbrm_bench.grading.read.atoms import number as decimal
from tbrm_bench.grading.read.latex import split_top_level
from tbrm_bench.grading.read.tree import Tree, number
from tbrm_bench.grading.read.units import is_unit_word, word_unit
from tbrm_bench.grading.read.vocabulary import CONSTANTS, FUNCTIONS, SETS_IN_WORDS, SYMBOLS
from tbrm_bench.grading.read.words import spelt_number

_PLAIN_NUMBER = re.compile(r"(-?)(?:(\d{1,300}(?:\.\d{1,300})?)|\\frac\{(\d{1,300})\}\{(\d{1,300})\})", re.ASCII)
_LETTER_DIGITS = re.compile(r"\(?((?=[\dA-Za-z]*\d)[\dA-Za-z]*[A-Za-z][\dA-Za-z]*|[A-F]+(?=\)?_\{?16))\)?_\{?(\d\d)\}?")
_REMAINDER = re.compile(r"([^=<>,;]+?)\s*\\bmod(?![a-zA-Z])\s*(\{?\s*\d{1,9}\s*\}?)")
_VALUES = ("n", "+", "-", "*", "/", "^", "f")
_WRAPPED = re.compile(r"\\text\s*\{([A-Za-z\s-]+)\}")
_DOTTED = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?![\d.])")
_MARKS = re.compile(r"\\(?:text|mathrm|textrm)\s*|[{}\s]")
# A word: no name of a function behind which its argument stands, no command.
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}(?![A-Za-z]|\s*[({])")
_FIRST_WORD = re.compile(r"(?:[Aa]n? )?([A-Za-z]{2,})")
_SENTENCE = re.compile(r"[A-Za-z] (?:is|are) [a-z]{3,}")  # n is odd
_SHORT_WORDS = frozenset(("yes", "no", "odd", "dne", "red", "tie"))  # answers that could be products of letters
_NAMES = frozenset(FUNCTIONS) | frozenset(CONSTANTS) | SYMBOLS
# 1,234, 5,678: where the commas of a list are spaced, those of its numbers are thousands marks.
_GROUPED_LIST = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+, |, \d{1,3}(?:,\d{3})+(?![\d,])")


def as_a_whole(text: str, read: Callable[[str], tuple[Tree, ...]]) -> Tree | None:
    """Return the tree of an answer that no grammar reads; `read` is what reads its parts."""
    return letter_digits(text) or in_words(text) or ratio(text, read) or remainder(text, read) or prose(text)


def plain_number(text: str) -> Tree | None:
    """Return 12, -0.5 and -\\frac{1}{2} as the grammar reads them, at a tenth of its cost; None for anything else."""
    match = _PLAIN_NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, value, above, below = match.groups()
    if value:
        tree = decimal(value)
        return ("n", -tree[1]) if sign else tree
    tree = ("/", decimal(above), decimal(below))
    return ("-", tree) if sign else tree


def groupings(text: str) -> tuple[bool, ...]:
    """Return how the commas between digits may be read, most likely first: True as thousands marks, False as a list."""
    if "," not in text:
        return (False,)
    return (True,) if _GROUPED_LIST.search(text) else (True, False)


def without_dots(text: str) -> str:
    """Return a text whose numbers have no points as thousands marks: 1234567 for 1.234.567; 1.234 stays."""
    return _DOTTED.sub(lambda number: number.group().replace(".", ""), text)


def letter_digits(text: str) -> Tree | None:
    """Return digits in a base above ten, 2A7_{12}; None for anything else."""
    if "_" not in text or len(text) > 80:
        return None
    match = _LETTER_DIGITS.fullmatch(_MARKS.sub("", text))
    if match is None or not 10 < int(match[2]) <= 36 or any(int(digit, 36) >= int(match[2]) for digit in match[1]):
        return None
    return ("base", match[1].upper(), int(match[2]))


def ratio(text: str, read: Callable[[str], tuple[Tree, ...]]) -> Tree | None:
    """Return 2:3:5 as a ratio; None for anything else, also for 2:3, which is a quotient."""
    if text.count(":") < 2:
        return None
    if "=" in text:  # V_1:V_2 = 11:21
        sides = split_top_level(text, "=")
        trees = [_quotient(side, read) for side in sides] if len(sides) == 2 else []
        return ("rel", "=", trees[0][0], trees[1][0]) if trees and all(trees) else None
    texts = split_top_level(text, ":")
    parts = list(map(read, texts)) if len(texts) > 2 else []  # one part would be the text itself again
    return ("ratio", *(part[0] for part in parts)) if parts and all(parts) else None


def _quotient(text: str, read: Callable[[str], tuple[Tree, ...]]) -> tuple[Tree, ...]:
    """Return BD:DC as one quotient, which the grammar would read as (BD : D) times C."""
    parts = list(map(read, split_top_level(text, ":"))) if text.count(":") == 1 else []
    return (("/", parts[0][0], parts[1][0]),) if len(parts) == 2 and all(parts) else read(text)


def remainder(text: str, read: Callable[[str], tuple[Tree, ...]]) -> Tree | None:
    """Return 12 \\bmod 7, the operation, as 12 - 7 floor(12 / 7); None for anything else, also for a congruence."""
    match = _REMAINDER.fullmatch(text) if "mod" in text else None
    sides = [read(match[1]), read(match[2])] if match else []
    if not sides or not all(sides) or any(side[0][0] not in _VALUES for side in sides):
        return None
    (value, *_), (modulus, *_) = sides
    return ("+", value, ("-", ("*", modulus, ("f", "floor", ("/", value, modulus)))))


def in_words(text: str) -> Tree | None:
    """Return "forty-two" and "forty percent" as numbers; None for any other text."""
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[1].strip()
    if not text[:3].isalpha() or "\\" in text:
        return None
    if text.startswith(("minus ", "negative ")) and (inner := in_words(text.partition(" ")[2])) is not None:
        return ("-", inner)
    if (value := spelt_number(text)) is not None:
        return number(value)
    head, _, unit = text.rpartition(" ")
    if head and is_unit_word(unit) and (value := spelt_number(head)) is not None:
        return ("q", number(value), word_unit(unit))
    return None


def prose(text: str) -> Tree | None:
    """Return words that stand outside \\text as words, "No solution", "All primes p > 3"; None for mathematics."""
    if not text[:1].isalpha():
        return None
    if (name := text.lower().removeprefix("the ")) in SETS_IN_WORDS:
        return ("c", SETS_IN_WORDS[name])
    if _SENTENCE.match(text):
        return ("text", text)
    if text.lower() in _SHORT_WORDS:
        return ("text", text)
    first = _FIRST_WORD.match(text)
    words = [word for word in _WORD.findall(text) if word not in _NAMES and not word.isupper()]
    if first is None or first[1] in _NAMES or not words or ("=" in text and len(words) < 3):
        return None
    return ("text", text)
