"""Split a cleaned answer into tokens, in one linear pass.

Example: `12.5\\text{ km}/h` gives NUMBER 12.5, TEXT "km", OP "/", WORD "h". A token is a pair (kind, value).

Kinds: NUMBER (the digits as written), WORD (a run of letters), COMMAND (`\\frac` without its backslash), TEXT (what
is in `\\text{}` and its relatives), BEGIN and END (an environment's name), ROW (`\\\\`), OP (one other character,
or `\\{`, `\\}`), SPACE never: spaces only separate.
"""

import re
from typing import NamedTuple

from tbrm_bench.grading.limits import MAX_ANSWER_CHARS, MAX_DIGITS, MAX_TOKENS


class Unreadable(Exception):
    """The text is not an answer that this grammar knows, or is beyond a limit."""


class Token(NamedTuple):
    """One token; `spaced` tells whether a space precedes it."""

    kind: str
    value: str
    spaced: bool = False


_EXPONENT = r"(?:[eE][+-]?\d+(?![\d.]))?"
_PLAIN_NUMBER = rf"(?:\d+\.\d+|\d+\.(?!\d)|\d+|\.\d+){_EXPONENT}"
_GROUPED_NUMBER = r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)(?:\.\d+)?"
_TEXT_COMMANDS = (
    "text|mbox|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|mathcal|operatorname|rm|bf|hbox|textsf|boldsymbol"
)
_REST = rf"""
    |(?P<TEXT>\\(?:{_TEXT_COMMANDS})\*?\s*\{{(?P<content>(?:[^{{}}\\]|\\[^a-zA-Z])*)\}})
    |\\(?P<BEGIN>begin)\s*\{{(?P<begun>[a-zA-Z]+)\*?\}}(?:\s*\{{[lcr|]*\}})?
    |\\(?P<END>end)\s*\{{[a-zA-Z]+\*?\}}
    |(?P<ROW>\\\\)
    |\\(?P<COMMAND>[a-zA-Z]+)\*?
    |(?P<WORD>[A-Za-z]+)
    |(?P<OP>\\[{{}}|]|<=|>=|!=|==|->|[-+*/^_(){{}}\[\],;=<>|!'%&:])
    |(?P<SPACE>\s+)
"""
_PLAIN = re.compile(rf"(?P<NUMBER>{_PLAIN_NUMBER}){_REST}", re.VERBOSE)
_GROUPED = re.compile(rf"(?P<NUMBER>{_GROUPED_NUMBER}|{_PLAIN_NUMBER}){_REST}", re.VERBOSE)
_MADE = frozenset(("NUMBER", "TEXT", "begun", "END"))  # of the others the text is the value
_UNIT_LETTERS = frozenset("gmshJNWVKL")
_MATH_LETTERS = frozenset(("mathrm", "mathbf", "mathit", "mathsf", "mathcal", "rm", "bf", "boldsymbol"))


def tokenize(text: str, *, grouped: bool) -> list[Token]:
    """Return the tokens of a cleaned answer; `grouped` reads 1,234 as one number. Raises Unreadable."""
    if len(text) > MAX_ANSWER_CHARS:
        raise Unreadable("too long")
    pattern = _GROUPED if grouped else _PLAIN
    tokens: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            raise Unreadable(f"character {text[position]!r}")
        position = match.end()
        kind = match.lastgroup
        if kind == "SPACE":
            spaced = True
            continue
        assert kind is not None
        tokens.append(_token(match, kind, spaced) if kind in _MADE else Token(kind, match[kind], spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise Unreadable("too many tokens")
    return tokens


def _token(match: re.Match[str], kind: str, spaced: bool) -> Token:
    if kind == "TEXT":
        content = " ".join(match["content"].replace("\\", " ").split())
        command = match["TEXT"][1 : match["TEXT"].index("{")].strip(" *")
        if (
            command in _MATH_LETTERS and len(content) == 1 and content not in _UNIT_LETTERS
        ):  # \mathrm{e} is the number, \mathbf{x} a symbol
            return Token("WORD" if content.isalpha() else "NUMBER" if content.isdigit() else "OP", content, spaced)
        return Token("TEXT", content, spaced)
    if kind == "begun":
        return Token("BEGIN", match["begun"], spaced)
    if kind == "END":
        return Token("END", "end", spaced)
    value = match["NUMBER"].replace(",", "")
    if len(value) > MAX_DIGITS:
        raise Unreadable("too many digits")
    return Token("NUMBER", value, spaced)
