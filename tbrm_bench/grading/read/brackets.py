"""What is between brackets: a group, a set, a tuple, an interval, an absolute value."""

from tbrm_bench.grading.read.reader import Reader
from tbrm_bench.grading.read.tokens import Unreadable
from tbrm_bench.grading.read.tree import Tree, items_of


def bracket(parser: Reader, opening: str, *, spread: bool = False) -> Tree:
    """Read what is between brackets, up to the one that closes it: a group, a set, a tuple or an interval."""
    if opening == "{":
        inner, _ = parser.bracketed(("}",))
        return ("set", *inner[1:]) if inner[0] == "list" else inner
    if opening == "\\{":
        if parser.cursor.accept("OP", "\\}"):
            return ("c", "empty")
        inner, _ = parser.bracketed(("\\}",))
        return ("set", *items_of(inner))
    if opening == "|":
        parser.cursor.bars += 1
        inner, _ = parser.bracketed(("|",))
        parser.cursor.bars -= 1
        return ("f", "abs", inner)
    if opening not in ("(", "["):
        raise Unreadable(f"operator {opening!r}")
    bars, parser.cursor.bars = parser.cursor.bars, 0
    inner, closing = parser.bracketed((")", "]"))
    parser.cursor.bars = bars
    if inner[0] == "list":
        return inner if spread else ("br", opening, closing, *inner[1:])
    if (opening, closing) not in (("(", ")"), ("[", "]")):
        raise Unreadable("brackets that do not match")
    return inner
