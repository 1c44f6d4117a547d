"""A text that is an answer and nothing else: it has the verdict that it would have in a box.

Examples: `\\$18.90`, `18 \\text{ miles per hour}`, "Ann and Ben"; "So it is 5. Or is it 6?" is no such text.
"""

import re

from tbrm_bench.grading.find.concluded import is_concluded, is_cut_off

MAX_BARE_CHARS = 1000
_ASIDE = re.compile(r"\(\s*[\d.,]+\s+[a-z]{2,}[^(),\\]*\)[.*_\s]*")
_NEXT_SENTENCE = re.compile(r"[a-z\d)][.!?]\s+[A-Z\\$]")
# What a formula may hold and prose is not made of: words in \text, a price, the name of an environment.
_NO_PROSE = re.compile(
    r"\\(?:text\w*|mathrm|mbox|hbox|emph)\s*\{[^{}]*\}|\\\$|\\(?:begin|end)\s*\{\w+\*?\}(?:\{[lcr|]*\})?"
    r"|\\\\\[[^\]]{1,9}\]"
)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
# One formula or several, without a word: a list item's number, a label and "= 42" are none.
_ONLY_FORMULA = re.compile(
    r"(?!\d{1,2}[.)]\s|=|>\s|[eEiI]\.[gGeE]\.)(?:(?<![a-zA-Z])(?!(?i:is|so|if|at|in|or|by|to|be|we|he|it|as|an|no|of|on|up|do|us|my)"
    r"(?![a-zA-Z]))[a-zA-Z]{1,2}(?![a-zA-Z])|(?<=\d)\s?:\s?(?=\d)"
    r"|[\d\s+\-*/^_=<>(){}\[\]|,.;!'&$\\%°≤≥≠±·×÷√π∞≈])+"  # noqa: RUF001
)
_FORMULA = re.compile(r"[\d$]|\\\(")
# Words of a sentence that leads to its value, whose answer is found by its words and is never all of it.
_SENTENCE = re.compile(
    r"\b(?:we|i|us|gets?|gives?|have|obtain|find|see|note|so|thus|hence|then|therefore|let|since|because|this|it|there|know"
    r"|need|compute|answers?)\b",
    re.IGNORECASE,
)


def bare_answer(text: str) -> str | None:
    """Return a text that is one line without an end of a sentence in it: all of it may be the answer."""
    line = text.strip().strip("*`").strip()
    if not line or len(line) > MAX_BARE_CHARS or "\n" in line:
        return None
    return line if is_formula(line) or not _NEXT_SENTENCE.search(line) else None


def is_said(answer: str) -> bool:
    """Return whether a bare answer is said as one: "Let x = 12" and "Is it 12?" are not."""
    if is_formula(answer):
        return True
    if is_cut_off(answer) or is_aside(answer) or (_FORMULA.search(answer) and _SENTENCE.search(answer)):
        return False
    words = without_inner_words(answer)
    return is_concluded(words, len(words), len(words)) and not words.rstrip().endswith("?")


def is_formula(answer: str) -> bool:
    """Return whether a bare answer holds formulas alone, and no word outside of \\text."""
    return _ONLY_FORMULA.fullmatch(_COMMAND.sub(" ", without_inner_words(answer))) is not None


def is_aside(text: str) -> bool:
    """Return whether all of a text is a number and words in brackets: (2 points)."""
    return text.startswith("(") and _ASIDE.fullmatch(text) is not None


def without_inner_words(text: str) -> str:
    """Return a text without the words that a formula may hold, so that what is left tells prose from mathematics."""
    return _NO_PROSE.sub(" ", text) if "\\" in text else text


def unmarked(text: str) -> str:
    """Return a text without markup around it; an underscore before it may be an index: _{10}C_3."""
    text = text.strip("*` \t\n")
    return text.strip("_") if text.endswith("_") else text
