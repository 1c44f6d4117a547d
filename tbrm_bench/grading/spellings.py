r"""Other ways to write the same thing, rewritten before an answer is read; each a pattern and what stands for it.

    6.2 x 10^{15}      6.2 \times 10^{15}          {7 \over 12}        \frac{7}{12}
    2.5 \text{ million}   2.5 \times 10^{6}         0.333\ldots         0.\overline{3}
    \{x \mid x < 3\}   x < 3                       ]2, 5]              (2, 5]
    1101 \text{ base } 2   1101_{2}                4\ \Omega           4\text{ ohm}

A pattern is tried only where its cue, a piece of plain text, stands in the answer, so most answers pay for one search.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

POWERS_OF_TEN = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_GROUP = r"(?:[^{}]|\{[^{}]*\})*?"
_WORD = r"\\(?:text|mathrm|textrm|mbox|rm)"


class Spelling(NamedTuple):
    """A rewrite; `cue` must occur in the text for the pattern to be tried."""

    cue: str
    pattern: re.Pattern[str]
    replacement: str | Callable[["re.Match[str]"], str]


def _scaled(match: "re.Match[str]") -> str:
    unit = f"\\text{{ {match[2].strip()}}}" if match[2] and match[2].strip() else ""
    return rf" \times 10^{{{POWERS_OF_TEN[match[1].lower()]}}}{unit}"


def _flat_unit(match: "re.Match[str]") -> str:
    return rf"\text{{ {match[1].replace('{', '').replace('}', '')}}}"


def _interval(match: "re.Match[str]") -> str:
    """Return an interval whose open ends are outward brackets, ]2, 5[, with round ones."""
    return f"{'(' if match[1] == ']' else match[1]}{match[2]},{match[3]}{')' if match[4] == '[' else match[4]}"


_SPELLINGS: tuple[Spelling, ...] = tuple(
    Spelling(cue, re.compile(pattern), replacement)
    for cue, pattern, replacement in (
        ("10", r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
        ("over", rf"\{{({_GROUP})\\over(?![a-zA-Z])({_GROUP})\}}", r"\\frac{\1}{\2}"),
        ("over", rf"^({_GROUP})\\over(?![a-zA-Z])({_GROUP})$", r"\\frac{\1}{\2}"),
        ("choose", rf"\{{?({_GROUP})\\choose(?![a-zA-Z])({_GROUP})\}}?$", r"\\binom{\1}{\2}"),
        ("C_", r"(?:\{\})?_\{?(\d+|[a-z])\}?\s*C_\{?(\d+|[a-z])\}?", r"\\binom{\1}{\2}"),
        (".", r"(?<=\d\.)(\d*)\\(?:bar|dot)(?![a-zA-Z])", r"\1\\overline"),
        (".", r"(\d+\.\d*?)(\d)\2{2,}\s*(?:\\[lc]?dots|\.\.\.+)(?!\d)", r"\1\\overline{\2}"),
        (".", r"(\d+\.\d*?)(\d{2,6})\2+\s*(?:\\[lc]?dots|\.\.\.+)(?!\d)", r"\1\\overline{\2}"),
        ("illion", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?([mbtMBT]r?illion)s?\b([^{{}}]*)\}}?", _scaled),
        ("thousand", rf"(?<=[\d}}])\s*(?:{_WORD}\s*\{{\s*)?(thousand)\b([^{{}}]*)\}}?", _scaled),
        ("\\text", rf"^{_WORD}\s*\{{([^{{}}]*\d[^{{}}]*)\}}$", r"\1"),
        ("circ", rf"\s*\^\s*\{{?\\circ\s*\}}?\s*(?:{_WORD}\s*\{{\s*)?C\s*\}}?$", r"\\text{ celsius}"),
        ("circ", rf"\s*\^\s*\{{?\\circ\s*\}}?\s*(?:{_WORD}\s*\{{\s*)?F\s*\}}?$", r"\\text{ fahrenheit}"),
        ("USD", r"^USD\s*(?=\d)", r"\\dollar "),
        ("Omega", r"(?<=[\d}])\s*\\Omega(?![a-zA-Z])", r"\\text{ ohm}"),
        ("\\dollar", rf"{_WORD}\s*\{{\s*\\dollar\s*\}}", r"\\dollar "),
        ("^{", rf"{_WORD}\s*\{{((?:[a-zA-Z/\s.]|\^\{{-?\d\}}|\^-?\d)+)\}}", _flat_unit),
        ("\\frac{\\", rf"\\frac\{{{_WORD}\{{([^{{}}]*)\}}\}}\{{{_WORD}\{{([^{{}}]*)\}}(\^\d)?\}}", r"\\text{ \1/\2\3}"),
        (
            "base",
            rf"(?<=[\dA-F)])\s*\(?{_WORD}\s*\{{\s*\(?\s*(?:in\s+)?base[\s-]*(\w*)\s*\)?\s*\}}\s*(\d*)\)?$",
            r"_{\1\2}",
        ),
        ("base", r"(?<=[\dA-F)])\s*\(?base[\s-]*(\w+)\)?$", r"_{\1}"),
        (
            "\\{",
            r"^\\\{\s*([a-zA-Z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?)?\s*(?::|\\mid|\|)\s*(.*[<>=\\].*)\\\}$",
            r"\2",
        ),
        ("[", r"([\[\](])([^\[\](),]+),([^\[\](),]+)(\[)", _interval),
        ("]", r"(?<![\w})])(\])([^\[\](),]+),([^\[\](),]+)([\[\])])", _interval),
    )
)  # fmt: skip


def respell(text: str) -> str:
    """Return the answer in the spelling that is read."""
    for cue, pattern, replacement in _SPELLINGS:
        if cue in text:
            text = pattern.sub(replacement, text)
    return text
