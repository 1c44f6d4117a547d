r"""Congruences: a modulus behind an item is part of it, however it is spelt.

n \equiv 3 \pmod 4          ("mod", ("rel", "=", n, 3), 4)
n = 3 (mod 4), 3 \text{ (mod 4)}, n \equiv 3 \mod 4     the same, with or without its left side
17 \bmod 5                  ("f", "mod", 17, 5), a number
"""

import re

from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.tree import Tree

_IN_WORDS = re.compile(
    r"\\(?:text|mathrm|textrm|mbox|operatorname|rm)\*?\s*\{\s*(?P<open>\(?)\s*mod(?:ulo)?\s*(?P<rest>[\w\s]*)(?P<close>\)?)\s*\}"
)
_CLOSED_IN_WORDS = re.compile(r"\\(?:text|mathrm|textrm|mbox|rm)\s*\{\s*\)\s*\}")
_WORD = re.compile(r"(?<![\\a-zA-Z])mod(?:ulo)?(?![a-zA-Z])")
_BRACKETED = re.compile(r"\(\s*\\[bp]?mod(?![a-zA-Z])\s*([^()]*)\)")
_NOT = re.compile(r"\\not\s*(?:\\equiv(?![a-zA-Z])|=)|\\nequiv(?![a-zA-Z])")
_COMMANDS = ("pmod", "mod", "pod")


def respelt(text: str) -> str:
    r"""Return a text in which every modulus is \pmod{m} behind a congruence, or \mod and \bmod before a number."""
    text = _IN_WORDS.sub(r"\g<open>\\bmod \g<rest>\g<close>", text)
    text = _CLOSED_IN_WORDS.sub(")", text)
    text = _NOT.sub(r"\\ne ", _WORD.sub(r"\\bmod ", text))
    return _BRACKETED.sub(r"\\pmod{\1}", text)


def with_modulus(parser: Reader, item: Tree) -> Tree:
    """Return an item with the modulus that is written behind it; the item if there is none."""
    token = parser.cursor.peek()
    if token.kind != "COMMAND" or token.value not in _COMMANDS:
        return item
    parser.cursor.next()
    if token.value == "mod" or parser.cursor.peek().kind == "NUMBER":  # \pmod12 is modulo 12
        return ("mod", item, parser.power())
    return ("mod", item, parser.argument())
