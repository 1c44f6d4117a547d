r"""One spelling for what models write in many: other people's commands, plain-text powers, bases in words.

Each rule changes how an answer is written and never what it means; a rule whose guard, a substring, is not in the text
costs nothing. Examples: `\textcolor{red}{5}` becomes `{5}`, `4.8 x 10^{-19}` a product, `2031 \text{ base } 4` the
digits `2031_{4}`, `\{x \mid x > 2\}` the inequality `x > 2`, `]2, 5[` the interval `(2, 5)`, `{}_{9}C_{4}` a binomial.
"""

import re
from collections.abc import Callable

from tbrm_bench.grading.words import NUMBER_WORDS, plain

Replacement = str | Callable[[re.Match[str]], str]

_NUMBER = r"-?[\d.,]*\d"
_SCRIPT = r"\{?\s*(\w+)\s*\}?"


def _repeat(found: re.Match[str]) -> str:
    return rf"{found[1]}\overline{{{found[2]}}}"


def _sexagesimal(found: re.Match[str]) -> str:
    seconds = f" + {found[3]}/3600" if found[3] else ""
    return rf"({found[1]} + {found[2]}/60{seconds})^\circ "


def _interval(found: re.Match[str]) -> str:
    opening = "[" if found[1] == "[" else "("
    closing = "]" if found[3] == "]" else ")"
    return f"{opening}{found[2]}{closing}"


def _rule(guard: str, pattern: str, replacement: Replacement) -> tuple[str, re.Pattern[str], Replacement]:
    return guard, re.compile(pattern), replacement


_RULES = (
    _rule("color", r"\\(?:text)?color\s*\{[^{}]*\}", ""),
    _rule("\\", r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf)(?![a-zA-Z])", " "),
    _rule("\\rm ", r"\\rm ([a-zA-Z/]+)", r"\\text{\1}"),
    _rule("frac", r"\\(?:nice|s|x|flat)frac(?![a-zA-Z])", r"\\frac"),
    _rule("{.}", r"(?<=\d)\{\.\}(?=\d)", "."),
    _rule("brace", r"\\lbrace(?![a-zA-Z])\s*", r"\\{"),
    _rule("brace", r"\\rbrace(?![a-zA-Z])", r"\\}"),
    _rule("\\colon", r"\\colon(?![a-zA-Z])", ":"),
    _rule("\\bigcup", r"\\bigcup(?![a-zA-Z_])", r"\\cup "),
    _rule("\\cr", r"\\cr(?![a-zA-Z])", r"\\\\ "),
    _rule("\\", r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*-\s*\}", "-"),
    # 4.8\mathrm{e}{-19}, 4.8\text{e-}19
    _rule("{", r"(?<=\d)\s*\\(?:text|mathrm|textrm|rm)\s*\{\s*[eE]\s*([+-]?)\s*\}\s*\{?([+-]?\d+)\}?", r"e\1\2"),
    _rule("10", r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
    # (-2, 3) U (5, 7)
    _rule("U", r"(?<=[)\]}])\s*U\s*(?=[(\[\\{])", r" \\cup "),
    _rule("C", rf"(?:^|(?<=[=+*(-]))\s*(?:\{{\s*\}}\s*)?[_^]\s*{_SCRIPT}\s*\{{?C\}}?\s*_\s*{_SCRIPT}", r"\\binom{\1}{\2}"),
    _rule("C(", r"(?<![A-Za-z\\])C\((\w+), ?(\w+)\)", r"\\binom{\1}{\2}"),
    # 22^\circ 30' is 22.5 degrees; 120^o is 120 degrees
    _rule("'", r"(\d+)\s*\^\s*\{?\s*\\circ\s*\}?\s*(\d+)\s*'(?!')\s*(?:(\d+)\s*'')?", _sexagesimal),
    _rule("\\prime", r"(\d+)\s*\^\s*\{?\s*\\circ\s*\}?\s*(\d+)\s*\^\s*\{?\s*\\prime\s*\}?()(?!\d)", _sexagesimal),
    _rule("o", r"(?<=\d)\s*\^\s*(?:\{\s*)?(?:\\(?:text|mathrm)\s*\{\s*o\s*\}|o(?![a-zA-Z]))(?:\s*\})?", r"^\\circ "),
    # a bar over a whole number or a line below it is decoration; behind a point it is the period of a decimal
    _rule("line", rf"(?<![.\d])\\(?:under|over)line\s*\{{\s*({_NUMBER})\s*\}}", r"{\1}"),
    _rule("\\dot", r"(?<=[\d.])\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\\overline{\1\2\3}"),
    _rule("\\", r"(?<=[\d.])\\(?:bar|dot)\s*\{?(\d+)\}?", r"\\overline{\1}"),
    _rule(".(", r"(?<=\d\.)\((\d+)\)", r"\\overline{\1}"),
    _rule("dots", r"(?<![\d.])(\d*\.\d*?)(\d{1,8}?)(?=\2)(?:\2)+\s*\\[lc]?dots", _repeat),
    _rule("...", r"(?<![\d.])(\d*\.\d*?)(\d{1,8}?)(?=\2)(?:\2)+\s*\.\.\.", _repeat),
    # currencies that stand in text or behind the number
    _rule("\\text", r"\\text\s*\{\s*\\?(dollar|euro|pounds|USD|EUR|GBP)\s*\}\s*(?=[\d.])", r"\\\1 "),
    _rule("\\", r"\\text\s*\{\s*\\(dollar|euro|pounds)\s*(-?[\d.,]*\d)\s*\}", r"\\\1 \2"),
    _rule("\\", rf"(?<![\w.\\])({_NUMBER})\s*\\(dollar|euro|pounds)\s*$", r"\\\2 \1"),
    _rule("\\text", r"\\text\s*\{\s*\\?%\s*\}", "%"),
    _rule("~", "~", " "),
)
_SET_BUILDER = re.compile(
    r"(?:[a-zA-Z]\s*\\in\s*)?\\\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\s*\{?\s*R\s*\}?\s*)?(?:\\mid|\\vert|:|\|)\s*([^{}]*)\\\}"
)
_OPEN_INTERVAL = re.compile(r"([\[\](])([^\[\]()]+[,;][^\[\]()]+)([\[\])])")
_IN_BASE = re.compile(r"\(?([0-9A-Za-z]+)\)?\s*_?\s*\(?\s*(?:in\s+)?base\s*[-=]?\s*(\w+)\s*\)?", re.IGNORECASE)
_BASE_BELOW = re.compile(r"(?<=[\dA-F)}])\s*_\s*\{\s*\(?\s*(?:\\(?:text|mathrm)\s*\{\s*)?(?:base\s*)?\(?(\w+)\)?\s*\}?\s*\)?\s*\}")
_PREFIXED = re.compile(r"0(?:b([01]+)|x([0-9A-Fa-f]+)|o([0-7]+))")
_RATIO = re.compile(r"(-?[\d.]+)\s*(?:\\(?:text|mbox)\s*\{\s*to\s*\}|\bto\b)\s*(-?[\d.]+)")


def respell(text: str) -> str:
    """Return a cleaned answer with one spelling for what has many."""
    for guard, pattern, replacement in _RULES:
        if guard in text:
            text = pattern.sub(replacement, text)
    if text.startswith("]") or text.endswith("["):
        text = _OPEN_INTERVAL.sub(_interval, text)
    if text.endswith("\\}") and (builder := _SET_BUILDER.fullmatch(text)):
        return builder[2].strip()
    if "_" in text and "{" in text:
        text = _BASE_BELOW.sub(_lower_base, text)
    if "base" in text and (based := _IN_BASE.fullmatch(" ".join(plain(text).split()))):
        base = NUMBER_WORDS.get(based[2].lower(), based[2])
        return f"{based[1]}_{{{base}}}"
    if text.startswith("0") and (prefixed := _PREFIXED.fullmatch(text)):
        digits, base = next((part, base) for part, base in zip(prefixed.groups(), (2, 16, 8), strict=True) if part)
        return f"{digits}_{{{base}}}"
    if " to" in text and (ratio := _RATIO.fullmatch(text)):
        return f"{ratio[1]}:{ratio[2]}"
    return text


def _lower_base(found: re.Match[str]) -> str:
    name = NUMBER_WORDS.get(found[1].lower(), found[1])
    return f"_{{{name}}}"
