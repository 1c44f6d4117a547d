r"""Clauses behind the values of an answer that has several: constants that are only called so, cases in words.

    f(x)=0 \text{ or } f(x)=cx \text{ for any constant } c     f(x)=0, f(x)=cx
    1 \text{ if } n=2, \text{ otherwise } 3                    \begin{cases} 1 & \text{if } n=2 \\ 3 & ... \end{cases}
    a_{i,j}=i+j \text{ for all } i, j                          a_{ij}=i+j

Cases in words are read to their last word: every value has its condition, or one "otherwise"; else they stay words.
"""

import re

from tbrm_bench.grading.read.builders import without_builder
from tbrm_bench.grading.read.latex import split_top_level
from tbrm_bench.grading.read.quantified import without_domain

MAX_CHARS = 600
_TEXT = r"\\(?:text|mathrm|textrm|mbox)\s*"
_PIECES = re.compile(rf"{_TEXT}\{{([^{{}}]*)\}}")
_JOINED_DEFINITIONS = re.compile(rf"\s*,?\s*{_TEXT}\{{\s*,?\s*(?:or|and)\s*\}}\s*(?=[a-zA-Z]\(\w\)\s*(?:=|\\equiv))")
_CALLED_CONSTANT = re.compile(
    rf"[\s,]*\(?{_TEXT}\{{\s*,?\s*(?:for|where|with)\s+(?:(?:some|any|an|all|arbitrary|real)\s+)*(?:constants?|reals?|numbers?)\s*\}}"
    r"\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*(?:\\in\s*\\mathbb\s*\{?\s*R\s*\}?)?\s*\)?$"
)
_INDEX_PAIR = re.compile(r"_\s*\{\s*([a-z])\s*,\s*([a-z])\s*\}")
_OF_INDICES = re.compile(
    rf"(?P<kept>[a-z]_\{{?[a-z]{{1,2}}\}}?\s*=[^=]*?)[\s,]*{_TEXT}\{{\s*for all\s*\}}\s*[a-z](?:\s*,\s*[a-z])?\s*"
)
_DEFINITION = re.compile(r"[a-zA-Z]\(\w\)\s*(?:=|\\equiv)")
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?: [A-Za-z]{2,})*")
_MARKS = re.compile(r"(,|\b(?:if|when|for|otherwise|else|and)\b)")
_RELATION = re.compile(r"[=<>]|\\(?:geq?|leq?|neq?|in)(?![a-zA-Z])")
_IF = ("if", "when", "for")
_OTHERWISE = ("otherwise", "else")


def without_clauses(text: str) -> str:
    """Return an answer of several values without remarks that say nothing, its cases in words as cases."""
    if len(text) > MAX_CHARS or "\\begin" in text or not ("\\" in text or "_" in text or " if " in text):
        return text
    text = without_builder(text)
    if "_" in text:
        text = _INDEX_PAIR.sub(r"_{\1\2}", text)
        if (indexed := _OF_INDICES.fullmatch(text)) is not None:
            text = indexed["kept"]
    if "if " in text or "if}" in text or "otherwise" in text or text.count("for ") > 1:
        text = as_cases(text) or text
    if _DEFINITION.match(text):
        text = _CALLED_CONSTANT.sub("", text)
        if len(_DEFINITION.findall(text)) > 1:
            parts = split_top_level(_JOINED_DEFINITIONS.sub(", ", text))
            text = ", ".join(map(without_domain, parts))
    return text


def as_cases(text: str) -> str:
    """Return cases in words as \\begin{cases}; nothing for anything else."""
    whole = _PIECES.fullmatch(text)
    text = whole[1] if whole else text
    if not _PIECES.search(text):
        text = _WORDS.sub(lambda run: rf"\text{{{run[0]}}}", text)
    rows: list[tuple[str, str]] = []
    value, condition, is_open = "", "", False
    for kind, token in [*_tokens(text), ("mark", ",")]:
        if kind == "mark" and token in (",", "and"):
            if value and (condition or (is_open and value)):
                rows.append((value, condition))
                value, condition, is_open = "", "", False
        elif kind == "mark" and token in _OTHERWISE:
            if condition and value:
                rows.append((value, condition))
                value, condition = "", ""
            condition, is_open = r"\text{otherwise}", True
        elif kind == "mark":
            if not value or condition:
                return ""
            condition, is_open = r"\text{if}", False
        elif condition and condition != r"\text{otherwise}":
            condition += f" {token}" if kind == "formula" else rf"\text{{ {token}}}"
        elif kind == "formula" and not value and not _RELATION.search(token):
            value = token
        else:
            return ""
    if value or condition or len(rows) < 2 or not all(found for _, found in rows) or rows[-1][1] == r"\text{if}":
        return ""
    return r"\begin{cases} " + r" \\ ".join(f"{one} & {said}" for one, said in rows) + r" \end{cases}"


def _tokens(text: str) -> list[tuple[str, str]]:
    """Return formulas, words and marks, in their order."""
    found: list[tuple[str, str]] = []
    for index, piece in enumerate(_PIECES.split(text)):
        if index % 2:
            parts = [part.strip() for part in _MARKS.split(piece)]
            found += [("mark" if _MARKS.fullmatch(part) else "words", part) for part in parts if part]
        else:
            formulas = split_top_level(piece)
            for number, formula in enumerate(formulas):
                found += [("mark", ",")] * (number > 0) + [("formula", formula)]
            if piece.rstrip().endswith(",") and formulas:
                found.append(("mark", ","))
    return found
