r"""What a completion announces as its answer: behind "final answer is", "the answer is", "Answer:", "####".

The last announcement that is concluded counts. Its answer is the formula that follows, with those joined to it, else
the rest of the sentence.

Example: "The answer is not 42 but $24$." announces 24.
"""

import re

from tbrm_bench.grading.find.concluded import is_concluded, is_cut_off
from tbrm_bench.grading.find.sentences import MATH, last_sentence
from tbrm_bench.grading.limits import MAX_AFTER_CHARS, MAX_ITEMS, MAX_TRIES

_IS = r"[^.:\n$\\]{0,60}?(?:\b(?:is|are|equals?|to be|must be|would be|should be)\b\s*:?|:|：)"  # noqa: RUF001
# What an answer may follow, by how the phrase begins; of each, the last that is followed as its pattern says.
FINAL = {"final": re.compile(rf"final\s+answer\b{_IS}|final\s+answer\s*\**\s*\n", re.IGNORECASE)}
ANSWER = {
    "answer": re.compile(rf"answers?\b(?:{_IS}|\s*=|\s[-–—]\s|(?<=answer)\W{{0,6}}\n)", re.IGNORECASE),  # noqa: RUF001
    "####": re.compile("####"),
    "答案": re.compile(r"答案[^.:\n$\\]{0,8}?(?:是|为|：|:)"),  # noqa: RUF001
}
_LEADING = re.compile(r"(?:[A-Za-z']{2,}[, ]+)*")
_WORDS = re.compile(r"[A-Za-z ,'-]*")
_HOPE = re.compile(r"[.,]?\s{0,9}\bI hope\b", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"\.(?=\s|\*|$)|\n|。|,?\s\(?(?:because|since|which|as|hence|therefore|not|rather than)\b"
    r"|(?<! or)\sso\b|(?<!,)\swhere\b"
)
_CORRECTION = re.compile(r"not\b[^.\n]{1,40}?\bbut(?: rather)?\b\s*", re.IGNORECASE)
ASIDE = re.compile(
    r"\s*\((?:about|approx|approximately|≈|~|i\.e\.)[^()\n]*\)\s*$"
    r"|,?\s*(?:or|i\.e\.,?)\s+(?:about|approximately|roughly|≈)\s*[\d.,]+\s*%?$"
)
JOINT = re.compile(r"\s*(?:,|;|,?\s*\band\b|,?\s*\bor\b)\s*")
_DENIED_BEHIND = re.compile(r"[\d\"\u201d)}\]$]\s{0,3}(?:is|was) (?:wrong|incorrect|false|not\b)")
DENIED = re.compile(r"\s{0,9}(?:is|was) (?:wrong|incorrect|false|not\b)")
_NUMBER = re.compile(r"-?[\d,]*\.?\d+\s*\\?%?")
MAX_UNCONCLUDED = 20
MARKUP = "*_` \t\n"


def announced(text: str, word: str, pattern: re.Pattern[str]) -> tuple[int, str | None] | None:
    """Return the answer behind the last match of a pattern that begins with a word and concludes, and where it ends.

    A few hundred are tried, and fewer that conclude nothing. The answer is None where nothing readable follows.
    """
    num_unconcluded = 0
    lowered = text.lower()
    lowered = lowered if len(lowered) == len(text) else text
    position = len(text)
    for _ in range(MAX_TRIES):
        position = lowered.rfind(word, 0, position)
        if position < 0:
            return None
        match = pattern.match(text, position)
        if match is not None and _begins(text, position, heading=word == "answer" and match.group().endswith("\n")):
            answer = _after_anchor(text, match.end())
            start, end = place(text, match.end(), answer)
            if (
                _is_ours(text, word, match, answer)
                and is_concluded(text, start, end)
                and not (is_cut_off(text) and last_sentence(text)[0] <= position)
            ):
                return end, answer
            num_unconcluded += 1
            if num_unconcluded == MAX_UNCONCLUDED:
                return None
    return None


def place(text: str, start: int, answer: str | None) -> tuple[int, int]:
    """Return where an answer that follows is written, without the words that lead to it; `start` twice if nowhere."""
    position = text.find(answer, start, start + MAX_AFTER_CHARS) if answer else -1
    if answer is None or position < 0:
        return start, start
    words = _LEADING.match(answer)
    return position + (words.end() if words and words.end() < len(answer) else 0), position + len(answer)


def with_aside(text: str) -> str:
    """Return a value with the number that it is about, as an approximation, and without other asides."""
    found = ASIDE.search(text)
    if found is None:
        return text
    value, again = text[: found.start()].rstrip(" ,"), _NUMBER.search(found.group())
    return rf"{value} \approx {again.group()}" if again and _NUMBER.fullmatch(value) else value


def _is_ours(text: str, word: str, match: "re.Match[str]", answer: str | None) -> bool:
    """Whether what is announced is not denied behind it, and is not one of several on its line."""
    if answer is not None and _DENIED_BEHIND.search(answer):
        return False
    return word != "####" or word not in text[text.rfind("\n", 0, match.start()) + 1 : match.start()]


def _begins(text: str, position: int, *, heading: bool) -> bool:
    """Whether a word begins here, and, for a heading, its line as well."""
    if heading:
        return not re.search(r"\w", text[text.rfind("\n", 0, position) + 1 : position])
    return position == 0 or not (text[position - 1].isascii() and text[position - 1].isalnum())


def _after_anchor(text: str, start: int) -> str | None:
    """Return the answer that follows "final answer is": the first formula, else the rest of the sentence."""
    rest = text[start:].lstrip(" \t\n*_`:：}")[:MAX_AFTER_CHARS]  # noqa: RUF001
    correction = _CORRECTION.match(rest)
    if correction:
        rest = rest[correction.end() :]
    hope = _HOPE.search(rest)
    if hope:
        rest = rest[: hope.start()]
    formula = MATH.match(rest)
    if formula:
        return None if DENIED.match(rest, formula.end()) else _joined_formulas(rest, formula)
    end = _SENTENCE_END.search(rest)
    rest = rest[: end.start()] if end else rest
    words = _WORDS.match(rest)
    inner = MATH.match(rest, words.end()) if words else None
    if inner:
        return _joined_formulas(rest, inner)
    return with_aside(rest.strip(MARKUP)).rstrip(".").strip(MARKUP) or None


def _joined_formulas(rest: str, formula: "re.Match[str] | None") -> str | None:
    """Return the formula and those joined to it by commas, "and", "or", as one list."""
    values: list[str] = []
    position = 0
    while formula is not None and len(values) < MAX_ITEMS:
        values.append(inside(formula))
        position = formula.end()
        joint = JOINT.match(rest, position)
        formula = MATH.match(rest, joint.end()) if joint else None
    if (
        len(values) == 1
        and (aside := ASIDE.match(rest[position:].rstrip(" .")))
        and (again := _NUMBER.search(aside.group()))
    ):
        return rf"{values[0]} \approx {again.group()}"
    if len(values) == 1 and (percent := re.match(r"\s*\\?%", rest[position:])):
        values[0] += percent.group().strip()
    return ", ".join(values) or None


def inside(formula: "re.Match[str]") -> str:
    return next(group for group in formula.groups() if group is not None).strip()
