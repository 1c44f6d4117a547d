r"""Words around a value that say how to read it, rewritten as mathematics; others are left, to be read as words.

    \text{The answer is } 5     5                     \text{negative } 5     -5
    \frac12 \text{ (or } 0.5)   \frac12=0.5           7 \text{ (seven)}      7=7
    \frac13 (\approx 0.33)      \frac13\approx 0.33   18 \text{ squared}     18^{2}

What an answer says twice has to be equal both times: a value in brackets behind another one is a side of an equation.
"""

import re

from tbrm_bench.grading.read.counted import counted, introduces
from tbrm_bench.grading.read.vocabulary import CONSTANTS, FUNCTIONS, GREEK
from tbrm_bench.grading.read.words import spelt_number

MAX_CHARS = 400  # of an answer that is searched for such words
_TEXT = r"\\(?:text|mathrm)"
_LEAD = re.compile(rf"{_TEXT}\s*\{{([^{{}}0-9\\$]*)\}}\s*(?=[\d.\\(+$-])")
_PLAIN_LEAD = re.compile(r"((?:exactly|approximately|about|only|a total of|just) )(?=[\d\\])", re.IGNORECASE)
_SIGN = re.compile(rf"{_TEXT}\s*\{{\s*(?:negative|minus)\s*\}}\s*(?=[\d.\\(])")
_POWERS = {"squared": "^{2}", "cubed": "^{3}", "factorial": "!"}
_POWER = re.compile(rf"(?<=[\d)}}])\s*(?:{_TEXT}\s*\{{\s*)?\b(squared|cubed|factorial)\s*\}}?$")
_AGAIN = (
    r"(?P<same>or(?:,? equivalently)?|equivalently|i\.\s?e\.|that is|which is|equals|=)"
    r"|(?P<near>or (?:about|approximately|roughly)|about|approximately|approx\.?|roughly|\\approx|\\simeq|~)"
)
# "(or 0.5)", "\text{ (or }0.5)", "(\approx 0.33)", ", i.e. 0.5", behind a value.
_OPEN_TEXT = rf"(?:{_TEXT}\s*\{{\s*)?"
_ASIDE = re.compile(
    rf"(?P<value>.*[\w)}}%\]])\s*,?\s*{_OPEN_TEXT}\(\s*{_OPEN_TEXT}(?:{_AGAIN})(?![a-z]),?\s*\}}?"
    r"\s*(?P<again>(?=[^()]*\w)[^()=<>]*(?:\([^()]*\)[^()=<>]*)*?)\s*\}?\s*\)\s*\}?",
)
_RESTATED = re.compile(
    rf"(?P<value>.*[\w)}}%\]])\s*,?\s*(?:{_TEXT}\s*\{{\s*,?\s*)"
    r"(?:(?P<same>or,? equivalently|which (?:is|equals)|equivalently|i\.\s?e\.|that is)"
    r"|(?P<near>or (?:about|approximately|roughly)))"
    r",?\s*\}\s*(?P<again>[^=<>]+)"
)
_OUT_OF = re.compile(rf"(\d{{1,9}})\s*{_OPEN_TEXT}\b(?:out of|in)\b\s*\}}?\s*(\d{{1,9}})\s*\}}?")  # a share
_SPELT = re.compile(
    rf"(?P<value>.*[\d}}])\s*(?:{_TEXT}\s*\{{\s*)?\(\s*(?P<words>[a-z][a-z -]*)\)\s*\}}?", re.IGNORECASE
)
_SPELT_FIRST = re.compile(
    rf"(?:{_TEXT}\s*\{{)?\s*(?P<words>[a-z][a-z -]*?)\s*\}}?\s*(?:{_TEXT}\s*\{{\s*)?\((?P<value>[\d., ]+)\)\s*\}}?",
    re.IGNORECASE,
)
# "18 ordered pairs": one word behind a value is read as a unit elsewhere, several only where they name what is counted.
_BARE_WORDS = re.compile(r"(.*[\d}])\s*((?:[a-z][a-z-]{1,14}\s+){1,5}[a-z]{2,14})\.?")
_UNIT_IN_BRACKETS = re.compile(rf"(?<=[\d}}])\s*\(\s*({_TEXT}\s*\{{[^{{}}]*\}})\s*\)$")
_TEXT_IN_BRACES = re.compile(rf"(?:{_TEXT}|(?<=\d))\s*\{{\s*({_TEXT}\s*\{{[^{{}}]*\}})\s*\}}")
_TEXTS = re.compile(rf"(?<=[\d}}])\s*{_TEXT}\s*\{{[a-zA-Z\s-]*\}}(?:\s*{_TEXT}\s*\{{[a-zA-Z\s-]*\}})+")
_CONTENT = re.compile(r"\{([^{}]*)\}")
_IS_THE_ANSWER = re.compile(
    rf"(?<=[\d)}}])\s*(?:{_TEXT}\s*\{{)?\s*\bis (?:the|our|my) (?:only |final |correct |required )?"
    r"(?:answer|solution)\s*\}?$"
)
_ORDINAL = re.compile(
    rf"(?<=\d)\s*\^?\s*\{{?\s*(?:{_TEXT}\s*\{{\s*(?:th|st|nd|rd)\s*\}}|(?:th|st|nd|rd)\b)\s*\}}?(?=$|\s)"
)
_OPEN_END = re.compile(rf"({_TEXT}\s*\{{[^{{}}]*\b(?:of|in|for|on))\s*\}}\s*([a-zA-Z])$")
_MATHEMATICS = frozenset(FUNCTIONS) | frozenset(CONSTANTS) | GREEK | {"times", "over", "pm"}


_BOTH_UNITS = re.compile(
    rf"(.*\d\s*{_TEXT}\s*\{{[a-z\s]+)\((\d[\d.,]*)\s+([a-z\s]+)\)\s*\}}"
)  # 5 \text{{ days (120 hours)}}


# x=7 y=42: two statements with nothing but a space between them, not one chain with 7y in its middle.
_STATEMENT = r"[a-zA-Z](?:_\{?\w\}?)?\s*="
_APART = re.compile(
    rf"({_STATEMENT}\s*-?(?:[\d./]+|\\pi|\\(?:[dt]?frac|sqrt)(?:\s*\{{[^{{}}=]*\}}){{1,2}}))\s+(?={_STATEMENT})"
)


def as_mathematics(text: str) -> str:
    """Return an answer with the words that say how its value is meant as signs."""
    if len(text) > MAX_CHARS:
        return text
    if "(" in text or "\\text" in text or "\\mathrm" in text:
        text = _without_asides(text)
    if text.count("\\text") > 1 or "{\\text" in text:
        text = _TEXTS.sub(_merged, _TEXT_IN_BRACES.sub(r"\1", text))
    if "{" in text:
        text = _UNIT_IN_BRACKETS.sub(r"\1", _SIGN.sub("-", text))
    if text.count("=") > 1:
        text = _APART.sub(r"\1, ", text)
    if "answer" in text or "solution" in text:
        text = _IS_THE_ANSWER.sub("", text)
    text = _ORDINAL.sub(r"\\text{ th}", text) if "th" in text or "st" in text or "d" in text else text
    if (" of" in text or " in" in text) and (share := _OUT_OF.fullmatch(text)):
        return rf"\frac{{{share[1]}}}{{{share[2]}}}"
    lead = _LEAD.match(text) or _PLAIN_LEAD.match(text)
    if lead and introduces(lead[1]):
        text = text[lead.end() :]
    if text.endswith(("d", "l", "}")) and (power := _POWER.search(text)):
        text = text[: power.start()] + _POWERS[power[1]]
    if text.endswith(tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.")):
        text = _OPEN_END.sub(r"\1 \2}", text)
        bare = _BARE_WORDS.fullmatch(text)
        if bare and not _MATHEMATICS & set(bare[2].split()) and counted(bare[2], lambda _: False) == "many":
            text = rf"{bare[1]}\text{{ {bare[2]}}}"
    return text


def _merged(match: "re.Match[str]") -> str:
    """Return texts side by side as one, unless one of them joins: \\text{ordered} \\text{pairs}."""
    words = " ".join(_CONTENT.findall(match.group())).split()
    return match.group() if "and" in words or "or" in words else rf"\text{{ {' '.join(words)}}}"


def _without_asides(text: str) -> str:
    ended = text.rstrip(" .")
    found = _ASIDE.fullmatch(ended) or _RESTATED.fullmatch(ended)
    if found:
        return f"{found['value']}{'=' if found['same'] else chr(92) + 'approx '}{found['again']}"
    spelt = _SPELT.fullmatch(ended) or _SPELT_FIRST.fullmatch(ended)
    if both := _BOTH_UNITS.fullmatch(ended):
        return rf"{both[1]}}}={both[2]}\text{{ {both[3]}}}"
    if spelt and (value := spelt_number(spelt["words"])) is not None:
        return f"{spelt['value']}={value}"
    return text
