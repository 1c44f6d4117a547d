"""Answers in words: names, choices, yes and no, numbers spelt out.

Examples: `\\text{(C)}` is the choice c, so are `C`, `C.` and `(C) 35`; `\\text{Not Possible}` and "not possible" agree;
"twelve" is 12.
"""

import re

_WRAPPER = re.compile(
    r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|operatorname|rm|bf|hbox|textsf|boldsymbol)(?![a-zA-Z])\*?"
)
_NOISE = re.compile(r"[^a-z0-9]+")
_ARTICLES = re.compile(r"^(?:the|an?)\s+|^(?:it\s+is|is)\s+", re.IGNORECASE)
_CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s*:?\s+)?\(?([A-Ja-j])\)?[.:]?")
_CHOICE_WITH_TEXT = re.compile(r"(?:\(([A-J])\)|([A-J])[).:])\s*\S.*", re.DOTALL)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}


def plain(text: str) -> str:
    """Return the words of an answer without LaTeX around them."""
    return " ".join(_WRAPPER.sub(" ", text).replace("{", " ").replace("}", " ").replace("\\", " ").split())


def bare(text: str) -> str:
    """Return an answer in words in one spelling: no case, no spaces, no punctuation, no article."""
    return _NOISE.sub("", _ARTICLES.sub("", plain(text)).lower())


def choice(text: str, *, with_text: bool) -> str | None:
    """Return the letter of a choice such as (C), C or, `with_text`, "(C) 35"; None if the answer is none."""
    words = plain(text)
    match = _CHOICE.fullmatch(words)
    if match:
        return match[1].upper()
    match = _CHOICE_WITH_TEXT.fullmatch(words) if with_text else None
    return (match[1] or match[2]) if match else None


def spelt_number(text: str) -> int | None:
    """Return the number from 0 to 99 that a word spells, None for any other word."""
    tens, _, ones = plain(text).lower().replace("-", " ").partition(" ")
    if not ones:
        return NUMBER_WORDS.get(tens)
    if NUMBER_WORDS.get(tens, 0) >= 20 and 1 <= NUMBER_WORDS.get(ones, 0) <= 9:
        return NUMBER_WORDS[tens] + NUMBER_WORDS[ones]
    return None
