r"""What is said of the letters of an answer behind it, as formulas of a list.

    f(x) = cx \text{ for some constant } c            f(x) = cx, c \in \mathbb{R}
    g(x) = x^a, \text{ where } a \text{ is a nonnegative integer}      g(x) = x^a, a \in \mathbb{Z}, a \ge 0
    (n, 2n) \text{ for } n \ge 1                      (n, 2n), n \ge 1

Only a remark that is understood to its last word is rewritten; any other stays as it is, to be read as words.
"""

import re

from tbrm_bench.grading.read.latex import split_top_level

MAX_TAIL_CHARS = 160
_WORD = r"\\(?:text|mathrm|textrm|mbox)\s*"
_LEAD = re.compile(
    rf"[\s,;(]*(?:{_WORD}\{{[\s,(]*)?(?<![a-zA-Z\\])(?:for|where|with)(?![a-zA-Z])"
    r"|[\s,;]*\((?=\s*[a-z](?:\s*,\s*[a-z])*\s*(?:\\(?:in|[lg]eq?|neq?)(?![a-z])|[<>])[^()]*\)$)"
    rf"|[\s,;]*\\forall(?![a-zA-Z])|[\s,;(]*{_WORD}\{{\s*\(?\s*(?=[a-zA-Z]\s+(?:is|are)\b)"
)
_WRAPPED = re.compile(rf"{_WORD}\{{([^{{}}]*)\}}")
_LETTER = r"(?:[a-zA-Z]|\\(?:alpha|beta|lambda|mu))(?:_\{?\w\}?)?"
_LETTERS = rf"{_LETTER}(?:\s*(?:,|and|,\s*and)\s*{_LETTER})*"
_KINDS = (
    r"(?:(?:an?|any|some|all|every|each|arbitrary|fixed|given|real|positive|negative|nonnegative|non-negative|nonzero|"
    r"non-zero|strictly|rational|integer|whole|natural|odd prime)\s+)*"
    r"(?:constants?|numbers?|reals?|integers?|parameters?|coefficients?|naturals?|arbitrary|positive|nonnegative|"
    r"non-negative|nonzero|non-zero|real|rational|negative)"
)
_QUANTIFIED = r"(?:(?:some|any|all|every|each|arbitrary)\s+)*"
_KIND_THEN_LETTERS = re.compile(rf"{_QUANTIFIED}(?P<kind>{_KINDS})\s+(?P<letters>{_LETTERS})(?P<rest>.*)")
_LETTERS_ARE = re.compile(rf"{_QUANTIFIED}(?P<letters>{_LETTERS})\s+(?:is|are|being)\s+(?P<kind>{_KINDS})(?P<rest>)")
_LETTERS_KIND = re.compile(rf"(?P<letters>{_LETTERS})\s+(?P<kind>{_KINDS})(?P<rest>)")
_LETTERS_ONLY = re.compile(rf"(?:some|any|arbitrary)\s+(?P<letters>{_LETTERS})(?P<kind>)(?P<rest>)")
_FORMULA = re.compile(
    rf"{_QUANTIFIED}(?P<formula>(?:[-\d]+\s*(?:<|\\leq?)\s*)?{_LETTER}(?:\s*(?:,|and)\s*{_LETTER})*"
    r"\s*(?:\\(?:in|notin|[lg]eq?|[lg]eqslant|neq?|[lg]t)(?![a-z])|[<>]|!=).*)"
)
_HEAD_WORDS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_SIGNS = {"positive": "> 0", "negative": "< 0", "nonnegative": r"\ge 0", "nonzero": r"\ne 0"}
_POSITIVE_INTEGERS = re.compile(
    r"\\mathbb\s*\{?Z\}?\s*(?:[\^_]\s*\{?\s*\+\s*\}?|[\^_]\s*\{\s*(?:>\s*0|\\geq?\s*1)\s*\})"
)
_NOT_NEGATIVE = re.compile(r"\\mathbb\s*\{?[ZN]\}?\s*[\^_]\s*(?:\{\s*(?:\\geq?(?:slant)?\s*)?0\s*\}|0)")
_ALL = re.compile(
    rf"^(?:{_WORD}\{{\s*)?(?i:for )?(?i:all)\s+(?:(?:real|positive|whole)\s+)*"
    r"(?:(?:integers?|numbers?|values? of|reals?)\s*)?(?:(?:such that|with|where|satisfying)\s*)?"
    rf"\}}?\s*(?={_LETTER}\s*(?:\\(?:in|[lg]eq?|[lg]eqslant|neq?)(?![a-z])|[<>]))"
)
_CUES = ("for", "where", "with", "is", "are", "\\in", "<", ">", "\\ge", "\\le", "\\ne")
_SETS = {"integer": "Z", "whole": "Z", "natural": "N", "rational": "Q"}


def spelt_out(text: str) -> str:
    """Return an answer with what is said of its letters as formulas; as it is where that is not understood."""
    if "ll " in text:
        text = _ALL.sub("", text)
    if not any(cue in text for cue in _CUES):
        return text
    if "mathbb" in text:
        text = _NOT_NEGATIVE.sub(r"\\mathbb{W}", _POSITIVE_INTEGERS.sub(r"\\mathbb{N}", text))
    lead = _LEAD.search(text)
    if lead is None or len(text) - lead.end() > MAX_TAIL_CHARS:
        return text
    head, tail = text[: lead.start()].strip(" ,;"), text[lead.end() :]
    if not head or _HEAD_WORDS.search(_without_commands(head)) or head.count("{") != head.count("}"):
        return text
    if r"\text" in lead[0] or r"\mathrm" in lead[0] or r"\mbox" in lead[0]:
        before, closing, after = tail.partition("}")
        tail = f"{before} {after}" if closing else tail
    said = " ".join(_WRAPPED.sub(r" \1 ", tail).replace(")}", "}").split()).strip(" .,;")
    formulas = _formulas(said.removesuffix(")") if said.count(")") > said.count("(") else said)
    return f"{head}, {', '.join(formulas)}" if formulas else text


def _without_commands(text: str) -> str:
    return re.sub(r"\\(?!text|mathrm|mbox)[a-zA-Z]+|\\(?:mathbb|operatorname)\s*\{[^{}]*\}", " ", text)


def _formulas(said: str) -> list[str]:
    """Return what a remark says as formulas; none if a word of it is not understood."""
    for pattern in (_KIND_THEN_LETTERS, _LETTERS_ARE, _LETTERS_KIND, _LETTERS_ONLY):
        if match := pattern.fullmatch(said):
            letters = [letter for letter in re.split(r"\s*(?:,|\band\b)\s*", match["letters"]) if letter]
            formulas = [formula for letter in letters for formula in _of_kind(letter, match["kind"])]
            rest = match["rest"].strip(" ,")
            if not rest:
                return formulas
            if len(letters) == 1 and re.match(r"\\(?:[lg]eq?|neq?)(?![a-z])|[<>]", rest):  # integer n \ge 2
                return [*formulas, f"{letters[0]} {rest}"]
            more = _formulas(re.sub(r"^(?:and|with|where)\s+", "", rest))
            return [*formulas, *more] if more else []
    if (match := _FORMULA.fullmatch(said)) is not None:
        formula = re.sub(r"\s+and\s+", ", ", match["formula"])
        return (
            split_top_level(formula)
            if not re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}", _without_commands(formula))
            else []
        )
    return []


def _of_kind(letter: str, kind: str) -> list[str]:
    words = kind.replace("non-", "non").split()
    sets = [name for word, name in _SETS.items() if word in words or f"{word}s" in words]
    signs = [sign for word, sign in _SIGNS.items() if word in words]
    return [rf"{letter} \in \mathbb{{{sets[0] if sets else 'R'}}}", *(f"{letter} {sign}" for sign in signs)]
