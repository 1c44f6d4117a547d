r"""Other ways to write the same thing, rewritten before an answer is read; each a pattern and what stands for it.

    6.2 x 10^{15}      6.2 \times 10^{15}          {7 \over 12}        \frac{7}{12}
    2.5 \text{ million}   2.5 \times 10^{6}         0.333\ldots         0.\overline{3}
    \{x \mid x < 3\}   x < 3                       ]2, 5]              (2, 5]
    1101 \text{ base } 2   1101_{2}                4\ \Omega           4\text{ ohm}
    \textcolor{red}{5}    {5}                      22^\circ 30'        (22 + 30/60)^\circ

A pattern is tried only where one of its cues, pieces of plain text, is in the answer: most answers pay for a few
searches.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from tbrm_bench.grading.read import cases, congruence, unit_vectors
from tbrm_bench.grading.read.quantified import without_domain
from tbrm_bench.grading.read.said import as_mathematics
from tbrm_bench.grading.read.units import names_a_unit
from tbrm_bench.grading.read.words import NUMBER_WORDS, plain

POWERS_OF_TEN = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_GROUP = r"(?:[^{}]|\{[^{}]*\})*?"
_WORD = r"\\(?:text|mathrm|textrm|mbox|rm)"
_INDEX = r"\{?\s*(\w+)\s*\}?"
_CURRENCY = r"(dollar|euro|pounds|yen)"


class Spelling(NamedTuple):
    """A rewrite; `cue` must occur in the text for the pattern to be tried."""

    cue: str
    pattern: re.Pattern[str]
    replacement: str | Callable[["re.Match[str]"], str]


def _scaled(match: "re.Match[str]") -> str:
    unit = f"\\text{{ {match[2].strip()}}}" if match[2] and match[2].strip() else ""
    return rf" \times 10^{{{POWERS_OF_TEN[match[1].lower()]}}}{unit}"


def _flat_unit(match: "re.Match[str]") -> str:
    words = match[1].replace("{", "").replace("}", "").replace("\\,", " ").replace("\\cdot", " ")
    return rf"\text{{ {words}}}"


def _unit_quotient(match: "re.Match[str]") -> str:
    return rf"\text{{ {match[1]}/{match[2]}{'^' + match[3] if match[3] else ''}}}"


def _interval(match: "re.Match[str]") -> str:
    """Return an interval whose open ends are outward brackets, ]2, 5[, with round ones."""
    return f"{'(' if match[1] == ']' else match[1]}{match[2]},{match[3]}{')' if match[4] == '[' else match[4]}"


def _sexagesimal(match: "re.Match[str]") -> str:
    seconds = f" + {match[3]}/3600" if match[3] else ""
    return rf"({match[1]} + {match[2]}/60{seconds})^\circ "


def _hours(match: "re.Match[str]") -> str:
    return rf"({match[1]} + {match[2]}/60)\text{{ hours}}"


def _function(match: "re.Match[str]") -> str:
    return f"{match[1] or 'f'}({match[2]})="


def _based(match: "re.Match[str]") -> str:
    return f"_{{{NUMBER_WORDS.get(match[1].lower(), match[1])}}}"


def _bare_sign(match: "re.Match[str]") -> str:
    """Return the sign that stands in braces of its own, {-}12; an exponent x^{+} keeps them."""
    before = match[1] or ""
    if before.startswith(("\\mathbin", "\\mathrel", "\\mathord")):
        return match[2]
    return match[0] if before else match[2]


_SPELLINGS: tuple[Spelling, ...] = tuple(
    Spelling(cue, re.compile(pattern), replacement)
    for cues, pattern, replacement in (
        # faces and sizes
        ("\\implies \\therefore \\Rightarrow", r"^\s*\\(?:implies|therefore|Rightarrow)(?![a-zA-Z])", ""),
        ("\\text{,}", r"(?<=\d)\\text\{,\}(?=\d{3}(?!\d))", ""),
        ("\\&", r",\s*\\&(?=\s*[\d-])", ","),  # 3, 5, \\& 7
        ("color", r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        ("\\", r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf)(?![a-zA-Z])", " "),
        ("line", r"(?<![.\d])\\(?:under|over)line\s*\{\s*(-?[\d.,]*\d)\s*\}", r"{\1}"),
        ("overline", r"\\overline\s*\{\s*([a-zA-Z])\s*\}", r"\\bar{\1}"),
        ("{.}", r"(?<=\d)\{\.\}(?=\d)", "."),
        ("brace", r"\\([lr])brace(?![a-zA-Z])", lambda match: "\\{" if match[1] == "l" else "\\}"),
        ("\\colon", r"\\colon(?![a-zA-Z])", ":"),
        ("\\bigcup", r"\\bigcup(?![a-zA-Z_])", r"\\cup "),
        ("-1", r"^([fghFGH])\s*\^\s*\{?\s*-1\s*\}?\s*(?=\(\w\)\s*=)", r"\1_{-1}"),  # an inverse, no product
        ("\\mapsto", r"^(?:([a-zA-Z])\s*:)?\s*([a-z])\s*\\mapsto(?![a-zA-Z])", _function),
        ("\\cr", r"\\cr(?![a-zA-Z])", r"\\\\ "),
        ("\\rm", r"\\rm ([a-zA-Z/]+)", r"\\text{ \1}"),
        ("-}", rf"{_WORD}\s*\{{\s*-\s*\}}", "-"),
        ("\\\\\\\\", r"\\\\(?:\\\\)+", r"\\\\ "),  # a row's end that was escaped twice
        (
            "h",
            rf"(\d+)\s*{_WORD}\s*\{{\s*h(?:(?:ou)?rs?)?,?\s*(?:and)?\s*\}}\s*(\d+)\s*{_WORD}\s*\{{\s*min(?:ute)?s?\s*\}}$",
            _hours,
        ),
        # powers of ten
        ("10", rf"(?<=\d)\s*(?:{_WORD}\s*\{{\s*[xX]\s*\}}|[xX])\s*(?=10\s*\^)", r"\\times "),
        ("{e {E", rf"(?<=\d)\s*{_WORD}\s*\{{\s*[eE]\s*([+-]?)\s*\}}\s*\{{?([+-]?\d+)\}}?", r"e\1\2"),
        ("e{ E{", r"(?<=\d)\s*[eE]\s*\{\s*([+-]?\d+)\s*\}", r"e\1"),
        ("illion", rf"{_WORD}\s*\{{\s*([\d.,]+ [mbtMBT]r?illions?)\s*\}}", r"\1"),
        ("illion", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?([mbtMBT]r?illion)s?\b([^{{}}]*)\}}?", _scaled),
        ("thousand", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?(thousand)s?\b([^{{}}]*)\}}?", _scaled),
        ("hundred", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?(hundred)s?\b([^{{}}]*)\}}?", _scaled),
        ("k", rf"(?<=\d)\s*{_WORD}\s*\{{\s*k\s*\}}", r" \\times 10^{3}"),
        ("mil", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?per ?mill?e?\b\s*\}}?", r" \\times 10^{-3}"),
        ("-} +} =} <} >}", r"(\\[a-zA-Z]+\s*|[\^_]\s*|\\)?\{\s*([-+=<>])\s*\}", _bare_sign),
        # quotients and binomials
        ("/_", r"(?:^|(?<=[-+=(,]))\s*(?:\{\s*\})?\s*\^\s*\{?(\d+)\}?\s*/\s*_\s*\{?(\d+)\}?", r"\\frac{\1}{\2}"),
        ("frac", r"\\(?:nice|s|x|flat)frac(?![a-zA-Z])", r"\\frac"),
        ("over", rf"\{{({_GROUP})\\over(?![a-zA-Z])({_GROUP})\}}", r"\\frac{\1}{\2}"),
        ("over", rf"^({_GROUP})\\over(?![a-zA-Z])({_GROUP})$", r"\\frac{\1}{\2}"),
        ("choose", rf"\{{({_GROUP})\\choose(?![a-zA-Z])({_GROUP})\}}", r"\\binom{\1}{\2}"),
        ("choose", rf"^({_GROUP})\\choose(?![a-zA-Z])({_GROUP})$", r"\\binom{\1}{\2}"),
        ("C", rf"(?:^|(?<=[=+*(-]))\s*(?:\{{\s*\}}\s*)?[_^]\s*{_INDEX}\s*\{{?C\}}?\s*_\s*{_INDEX}", r"\\binom{\1}{\2}"),
        ("C", rf"^(?:{_WORD}\s*\{{\s*)?C\s*\}}?\s*_\s*\{{?(\d+)\}}?\s*\^\s*\{{?(\d+)\}}?$", r"\\binom{\1}{\2}"),
        ("C(", r"(?<![A-Za-z\\])C\((\w+), ?(\w+)\)", r"\\binom{\1}{\2}"),
        ("/d", r"(?<![a-zA-Z\\])d([a-zA-Z])/d([a-z])(?![a-zA-Z])", r"\\frac{d\1}{d\2}"),
        # repeating decimals
        ("\\bar \\dot", r"(?<=\d\.)(\d*)\\(?:bar|dot)(?![a-zA-Z])", r"\1\\overline"),
        (".(", r"(?<=\d\.)\((\d+)\)", r"\\overline{\1}"),
        ("dots ...", r"(\d+\.\d*?)(\d)\2{2,}\s*(?:\\[lc]?dots|\.\.\.+)(?!\d)", r"\1\\overline{\2}"),
        ("dots ...", r"(\d+\.\d*?)(\d{2,6})\2+\s*(?:\\[lc]?dots|\.\.\.+)(?!\d)", r"\1\\overline{\2}"),
        ("...", r"\.\.\.+", r"\\ldots "),
        # angles, units, currencies
        ("'", r"(\d+)\s*\^\s*\{?\s*\\circ\s*\}?\s*(\d+)\s*'(?!')\s*(?:(\d+)\s*'')?", _sexagesimal),
        ("\\prime", r"(\d+)\s*\^\s*\{?\s*\\circ\s*\}?\s*(\d+)\s*\^\s*\{?\s*\\prime\s*\}?()(?!\d)", _sexagesimal),
        ("^o o}", rf"(?<=\d)\s*\^\s*(?:\{{\s*)?(?:{_WORD}\s*\{{\s*o\s*\}}|o(?![a-zA-Z]))(?:\s*\}})?", r"^\\circ "),
        ("\\text", rf"^{_WORD}\s*\{{([^{{}}]*\d[^{{}}]*)\}}$", r"\1"),
        ("circ", rf"{_WORD}\s*\{{\s*(\^\\circ)\s*([CF])\s*\}}", r"\1 \2"),
        ("cdot", rf"({_WORD}\s*\{{[^{{}}]{{0,40}}?)\\cdot(?![a-zA-Z])", r"\1 "),
        ("circ", rf"\s*\^\s*\{{?\\circ\s*\}}?\s*(?:{_WORD}\s*\{{\s*)?C\s*\}}?$", r"\\text{ celsius}"),
        ("circ", rf"\s*\^\s*\{{?\\circ\s*\}}?\s*(?:{_WORD}\s*\{{\s*)?F\s*\}}?$", r"\\text{ fahrenheit}"),
        ("dollar", r"\\(?:math|text)dollar(?![a-zA-Z])\s*(?=[\d.])", r"\\dollar "),
        ("USD", r"^USD\s*(?=\d)", r"\\dollar "),
        ("circ", rf"{_WORD}\s*\{{\s*(\^\\circ)\s*\}}", r"\1"),
        ("\\mu", rf"{_WORD}\s*\{{\s*\\mu\s*\}}?\s*(?:{_WORD}\s*\{{\s*)?([msCAVFgL])\s*\}}", r"\\text{ u\1}"),
        ("\\mu", rf"\\mu\s*{_WORD}\s*\{{\s*([msCAVFgL])\s*\}}", r"\\text{ u\1}"),
        ("\\AA \u00c5", rf"(?:{_WORD}\s*\{{)?\s*(?:\\AA(?![a-zA-Z])|\u00c5)\s*\}}?", r"\\text{ angstrom}"),
        ("Omega", r"(?<=[\d}])\s*\\Omega(?![a-zA-Z])", r"\\text{ ohm}"),
        ("^{", rf"{_WORD}\s*\{{((?:[a-zA-Z/\s.]|\\,|\\cdot |\\cdot(?![a-zA-Z])|\^\{{-?\d\}}|\^-?\d)+)\}}", _flat_unit),
        (
            "\\frac{\\",
            rf"\\frac\{{{_WORD}\{{([^{{}}]*)\}}\}}\{{{_WORD}\{{([^{{}}]*)\}}(?:\^\{{?(\d)\}}?)?\}}",
            _unit_quotient,
        ),
        ("%", rf"{_WORD}\s*\{{\s*\\?%\s*\}}", "%"),
        ("USD", rf"{_WORD}\s*\{{\s*USD\s*\}}\s*(?=[\d.])", r"\\dollar "),
        ("dollar euro pounds", rf"{_WORD}\s*\{{\s*\\{_CURRENCY}\s*\}}", r"\\\1 "),
        ("dollar euro pounds", rf"{_WORD}\s*\{{\s*\\{_CURRENCY}\s*(-?[\d.,]*\d)\s*\}}", r"\\\1 \2"),
        ("dollar euro pounds", rf"(?<![\w.\\])(-?[\d.,]*\d)\s*\\{_CURRENCY}\s*$", r"\\\2 \1"),
        # bases
        (
            "base",
            rf"(?<=[\dA-F)])\s*\(?{_WORD}\s*\{{\s*\(?\s*(?:in\s+)?base[\s-]*(\w*)\s*\)?\s*\}}\s*(\d*)\)?$",
            r"_{\1\2}",
        ),
        ("base", r"(?<=[\dA-F)])\s*\(?base[\s-]*(\w+)\)?$", r"_{\1}"),
        (
            "_",
            rf"(?<=[\dA-F)}}])\s*_\s*\{{\s*\(?\s*(?:{_WORD}\s*\{{\s*)?(?:base\s*)?\(?(\w+)\)?\s*\}}?\s*\)?\s*\}}$",
            _based,
        ),
        ("_", r"(?<=[01]) (?=[01 ]+_\{?2\}?$)", ""),
        # choices, sets
        ("\\text", rf"{_WORD}\s*\{{\s*([A-J](?:\s*,\s*[A-J])+)\s*\}}", r"\1"),
        (
            "\\{",
            r"^\\\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?)?\s*(?::|\\mid|\|)\s*(.*[<>=\\].*)\\\}$",
            r"\2",
        ),
        (
            "\\{",
            r"^\\\{\s*(\([a-z](?:\s*,\s*[a-z])+\))\s*(?:\\in\s*[^:|=<>]*?)?(?::|\\mid(?![a-z])|\|)(?=.*(?:[<>=]|\\[lgn]e))",
            r"\\{\1 \\mid ",
        ),
        ("mathbb", r"\\mathbb\s*\{?R\}?\s*(?:[\^_]\s*\{?\s*\+\s*\}?|_\s*\{\s*>\s*0\s*\})$", r"(0, \\infty)"),
        ("mathbb", r"\\mathbb\s*\{?R\}?\s*_\s*\{\s*\\geq?\s*0\s*\}$", r"[0, \\infty)"),
        ("U", rf"(?<=[)\]}}])\s*{_WORD}\s*\{{\s*U\s*\}}\s*(?=[(\[\\{{])", r" \\cup "),
        (
            "for all",
            rf"(?<=[^{{\s])\s*{_WORD}\s*\{{\s*,?\s*for all (?:real )?(?:numbers )?(?:[a-z]\s*\}}|\}}\s*[a-z])$",
            "",
        ),
        ("in.", rf"{_WORD}\s*\{{\s*in\.\s*\}}", r"\\text{ inch}"),
        ("U", r"(?<=[)\]}])\s*U\s*(?=[(\[\\{])", r" \\cup "),
        ("[", r"([\[\](])([^\[\](),]+),([^\[\](),]+)(\[)", _interval),
        ("]", r"(?<![\w})])(\])([^\[\](),]+),([^\[\](),]+)([\[\])])", _interval),
    )
    for cue in cues.split()
)  # fmt: skip
_LETTER = re.compile(r"[^\W\d_]")
_FACES = re.compile(r"mathbf|\\vec|hat|\\bm|boldsymbol|overrightarrow|textbf")
# "5 meters per second": one word behind a value is read as a unit elsewhere, several only where all of them name one.
_BARE_UNIT = re.compile(r"(.*[\d}])\s*((?:(?:square|cubic|per|[a-z]{2,12})\s+){1,4}[a-z]{2,12})\.?")
# A value where it is defined: \frac{x+1}{x-1}, x \neq 1. With a relation before it, it says more: x < 5, x \neq 1.
_EXCLUSION = re.compile(
    rf"(?P<value>[^=<>]+?)\s*(?:,|\\q?quad|\s(?=\()|{_WORD}\{{\s*,?\s*(?:for|where|with|if|when)\s*\}})[\s,;\\]*(?:quad)?\s*"
    r"\(?\s*(?P<letter>[a-z])\s*\\neq?(?![a-zA-Z])\s*-?[\w\\{}/.]+\s*\)?"
)
_SAYS_MORE = re.compile(r"\\(?:text|mathbb|mathrm|in|leq?|geq?|neq?|cup|cap|pm|lor|land)(?![a-zA-Z])")
_IN_BASE = re.compile(r"\(?([0-9A-Za-z]+)\)?\s*_?\s*\(?\s*(?:in\s+)?base\s*[-=]?\s*(\w+)\s*\)?", re.IGNORECASE)
_PREFIXED = re.compile(r"0(?:b([01]+)|x([0-9A-Fa-f]+)|o([0-7]+))")
_RATIO = re.compile(r"(-?(?!0+\b)[\d.]+)\s*(?:\\(?:text|mbox)\s*\{\s*to\s*\}|\bto\b)\s*(-?[\d.]+)")


def respell(text: str) -> str:
    """Return the answer in the spelling that is read."""
    text = without_domain(text) if "=" in text else text
    text = cases.respelt(text) if "\\begin" in text else text
    text = unit_vectors.respelt(text) if _FACES.search(text) else text
    text = congruence.respelt(text) if "mod" in text or "equiv" in text else text
    for cue, pattern, replacement in _SPELLINGS:
        if cue in text:
            text = pattern.sub(replacement, text)
    if "\\ne" in text and (excluded := _EXCLUSION.fullmatch(text)) and _holds(excluded["value"], excluded["letter"]):
        text = excluded["value"]
    if " " in text and (bare := _BARE_UNIT.fullmatch(text)) and names_a_unit(bare[2]):
        text = rf"{bare[1]}\text{{ {bare[2]}}}"
    if "base" in text and (based := _IN_BASE.fullmatch(" ".join(plain(text).split()))):
        return f"{based[1]}_{{{NUMBER_WORDS.get(based[2].lower(), based[2])}}}"
    if text.startswith("0") and (prefixed := _PREFIXED.fullmatch(text)):
        digits, base = next((part, base) for part, base in zip(prefixed.groups(), (2, 16, 8), strict=True) if part)
        return f"{digits}_{{{base}}}"
    if "\\cup" in text and not set(text) & set("([{"):  # x < 2 \\cup x > 5
        text = text.replace("\\cup", "\\lor ")
    if " to" in text and (ratio := _RATIO.fullmatch(text)):
        return f"{ratio[1]}:{ratio[2]}"
    return as_mathematics(text) if _LETTER.search(text) else text


def _holds(value: str, letter: str) -> bool:
    """Whether a value is an expression in a letter, and nothing that a condition on the letter could narrow."""
    return re.search(rf"(?<![\\a-zA-Z]){letter}(?![a-zA-Z])", value) is not None and not _SAYS_MORE.search(value)
