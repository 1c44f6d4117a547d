r"""Where sentences begin and end, in a text with formulas; the marks inside a formula end none.

Example: "So $f(x) = x!$ works. We get:\n$x = 7$" has the sentences "So ... works." and "We get: ... 7".
"""

import re
from collections.abc import Iterator
from functools import lru_cache

WINDOW = 400  # characters of a sentence on either side of its value
MATH = re.compile(
    r"\$\$(.+?)\$\$|\$((?:\\\$|[^$\n])+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|\\begin\{(?:align|aligned|equation|gather|eqnarray)\*?\}(.+?)\\end\{(?:align|aligned|equation"
    r"|gather|eqnarray)",
    re.DOTALL,
)
_BOUNDARY = re.compile(r"[.!?…]+[\"')*_]*(?=\s|$)|[。！？]|\n")  # noqa: RUF001
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs)|(?:^|\n)\d)$")
_OPEN_LINE = re.compile(r"(?:[:,]|\b(?:is|are|be|that|get|have|then|to|of|say|gives|equals|obtain|find))$")
# The formulas of a text without other marks, which are found faster.
_DOLLARS = re.compile(r"\$[^$\n]+\$")
_OTHER_MARKS = re.compile(r"\$\$|\\[$(\[b]")
_POINT = re.compile(r"(?<![.…])\.\s*(?:\$\$?|\\[)\]])$")  # "and $z = 1.$  Hence", a sentence's end in its last formula
_NEAR = 200  # characters at the end of a text, in which its last sentence mostly begins
_CLOSING = re.compile(
    r"[\W_]*(?:i hope\b|let me know\b|hope\b|this (?:completes|concludes|finishes|is the|proves|was"
    r"|ends)\b|as (?:desired|required|claimed|needed|wanted|expected|requested|asked)\b"
    r"|(?:we|i) (?:can )?(?:check|verify)(?: that)? (?:this|it|our)(?: \w+)? (?:indeed |does )?works?\b"
    r"|done\b|that(?:'s| is) (?:it|all|the)\b|thank|q\.?e\.?d|we are done\b|which completes\b"
    r"|and we are done\b|end of\b|feel free\b|good luck\b|problem solved\b|solved\b)[^\n]*$",
    re.IGNORECASE,
)


@lru_cache(maxsize=8)
def last_sentence(text: str) -> tuple[int, int]:
    """Return where the last sentence begins and ends, closing words such as "I hope it is correct." left aside."""
    end = len(text)
    for _ in range(3):
        low = line_start(text, end - 2 * WINDOW)
        start = low + sentence_start(masked(text[low:end].rstrip()))
        if not start or not _CLOSING.fullmatch(text[start:end].strip()):
            break
        end = start
    return start, end


def line_start(text: str, position: int) -> int:
    """Return where a line begins, not far before a position, so that no formula is read from its middle."""
    if position <= WINDOW:
        return 0
    line = text.rfind("\n", position - WINDOW, position) + 1
    if line or text.count("$", 0, position) % 2 == 0:
        return line or position
    return text.find("$", position) + 1 or position


@lru_cache(maxsize=8)
def masked(text: str) -> str:
    """Return a text of the same length without the marks inside its formulas; a point at the end of one stays."""
    if "$" not in text and "\\" not in text:
        return text
    plain = _OTHER_MARKS.search(text) is None
    return (_DOLLARS if plain else MATH).sub(_mask, text)


def _mask(formula: "re.Match[str]") -> str:
    letters = "x" * len(formula.group())
    return f"{letters[1:]}." if _POINT.search(formula.group()[-8:]) else letters


def boundaries(text: str, start: int) -> "Iterator[re.Match[str]]":
    """Yield the marks that end sentences and the ends of lines, from `start` on, in a text without formulas."""
    for found in _BOUNDARY.finditer(text, start):
        if _ends(text, found):
            yield found


def sentence_start(text: str) -> int:
    """Return where the last sentence begins; a line that leads to the next one belongs to it."""
    end = len(text.rstrip())
    for low in (max(0, end - _NEAR), 0):
        found = [mark for mark in _BOUNDARY.finditer(text, low, end) if mark.end() < end]
        for index in range(len(found) - 1, -1, -1):
            mark = found[index]
            if not _ends(text, mark):
                continue
            begin = max(text.rfind("\n", low, mark.start()) + 1, low)
            if index and _ends(text, found[index - 1]):
                begin = found[index - 1].end()
            if mark.group() != "\n" or not _goes_on(text[begin : mark.start()]):
                return mark.end()
        if not low:
            break
    return 0


def _ends(text: str, mark: "re.Match[str]") -> bool:
    """Whether a mark is no point of an abbreviation."""
    position = mark.start()
    return text[position] != "." or not _ABBREVIATED.search(text, max(0, position - 5), position)


def _goes_on(line: str) -> bool:
    """Whether a line is empty or leads to the next one: "We get:"."""
    bare = line.rstrip(" \t\n*_")
    return not bare or _OPEN_LINE.search(bare, max(0, len(bare) - 8)) is not None
