r"""Values that hang on conditions, and systems of equations.

    \begin{cases} 0 & \text{if } a=1 \\ a^2 & \text{otherwise} \end{cases}
        ("cases", ("case", 0, ("rel", "=", a, 1)), ("case", a^2, ("otherwise",)))
    \begin{cases} x = 1 \\ y = 2 \end{cases}      ("list", x = 1, y = 2)

A condition that is no formula stays words: ("text", "the triangle is isosceles").
"""

import re
from collections.abc import Sequence

from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.tokens import Token, Unreadable
from tbrm_bench.grading.read.tree import Tree, number
from tbrm_bench.grading.read.vocabulary import RELATIONS

ENVIRONMENTS = frozenset(("cases", "dcases", "rcases", "aligned", "gathered"))
OTHERWISE: Tree = ("otherwise",)
MAX_CASES = 12
_ARRAY = re.compile(r"\\\{\s*\\begin\s*\{(array|aligned|matrix)\}(.*?)\\end\s*\{\1\}(?!\s*\\\})")
_BEFORE = re.compile(r"(?:,|;|and\b|or\b|if\b|for\b|when(?:ever)?\b|where\b|as\b|with\b|in case\b|all\b|every\b|\s)+")
_STARTS = re.compile(r"[,;\s]*(?:if|for|when|whenever|otherwise|else|in case|all other|elsewhere)\b", re.IGNORECASE)
_OTHERWISE = re.compile(r"(?:otherwise|else|elsewhere|all other|in all other|in other)\b.*", re.IGNORECASE)
_PARITY = re.compile(
    r"([a-z])\s*(?:is|=|are)?\s*(?:an?\s+)?(odd|even)(?:\s+(?:integer|number)s?)?|(odd|even)\s*([a-z])"
)


def respelt(text: str) -> str:
    r"""Return an array behind one brace as cases: \left\{\begin{array}{ll} ... \end{array}\right."""
    return _ARRAY.sub(r"\\begin{cases}\2\\end{cases}", text)


def read_cases(parser: Reader) -> Tree:
    """Read rows up to the end of the environment, whose beginning was read."""
    rows: list[list[Token]] = [[]]
    while (token := parser.cursor.next()).kind != "END":
        if token.kind in ("EOF", "BEGIN"):
            raise Unreadable("cases")
        if token.kind == "ROW":
            rows.append([])
        else:
            rows[-1].append(token)
    rows = [row for row in rows if row]
    if not rows or len(rows) > MAX_CASES:
        raise Unreadable("cases")
    read = [_row(parser, row) for row in rows]
    if all(row[0] == "case" for row in read):
        return ("cases", *read)
    if any(row[0] == "case" for row in read):
        raise Unreadable("cases and equations")
    return read[0] if len(read) == 1 else ("list", *read)


def _row(parser: Reader, tokens: Sequence[Token]) -> Tree:
    """Return one row: a value with its condition, or an equation of a system."""
    end = next((index for index, token in enumerate(tokens) if _ends_value(token)), len(tokens))
    rest = [token for token in tokens[end:] if token != ("OP", "&", token.spaced)]
    if not rest or (rest[0].value in RELATIONS and rest[0].kind in ("OP", "COMMAND")):
        return parser.apart([token for token in tokens if token.value != "&" or token.kind != "OP"])
    return ("case", parser.apart(_without_comma(tokens[:end])), _condition(parser, rest))


def _ends_value(token: Token) -> bool:
    if token.kind == "OP":
        return token.value == "&"
    return token.kind in ("TEXT", "WORD") and _STARTS.match(token.value) is not None


def _without_comma(tokens: Sequence[Token]) -> Sequence[Token]:
    while tokens and tokens[-1].kind == "OP" and tokens[-1].value in (",", ";", ":"):
        tokens = tokens[:-1]
    return tokens


def _condition(parser: Reader, tokens: Sequence[Token]) -> Tree:
    said = " ".join(token.value for token in tokens)
    said = said[match.end() :] if (match := _BEFORE.match(said)) else said
    said = said.strip(" .,;")
    if _OTHERWISE.fullmatch(said):
        return OTHERWISE
    if parity := _PARITY.fullmatch(said):
        letter, kind = parity[1] or parity[4], parity[2] or parity[3]
        return ("mod", ("rel", "=", ("s", letter), number(int(kind == "odd"))), number(2))
    formula = _without_comma(_formula(tokens))
    if any(token.kind == "TEXT" and token.value.strip(" ,").lower() not in ("and", "or") for token in formula):
        return ("text", said)
    try:
        return parser.apart(formula)
    except Unreadable:
        return ("text", said)


def _formula(tokens: Sequence[Token]) -> list[Token]:
    """Return a condition without the words before it."""
    kept = list(tokens)
    while kept and (kept[0].value == "," or (kept[0].kind in ("TEXT", "WORD") and _BEFORE.fullmatch(kept[0].value))):
        kept.pop(0)
    return kept
