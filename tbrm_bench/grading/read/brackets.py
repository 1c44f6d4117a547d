"""What is between brackets: a group, a set, a tuple, an interval, an absolute value."""

from collections.abc import Sequence

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
        return _described(items_of(inner)) or ("set", *items_of(inner))
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
        if parser.cursor.offers and not spread:
            raise Unreadable("one or the other in a row")  # (3 or 5) is no point
        return inner if spread else ("br", opening, closing, *inner[1:])
    if (opening, closing) not in (("(", ")"), ("[", "]")):
        raise Unreadable("brackets that do not match")
    return inner


def _described(items: Sequence[Tree]) -> Tree | None:
    r"""Return \{(a, b) \mid ab > 1\} as its letters and its condition; None for any other set."""
    first = items[0]
    if first[0] != "chain" or first[1][0] != "mid" or first[2][0][0] != "br":
        return None
    operators, sides = first[1][1:], first[2][1:]
    condition: Tree = ("rel", *operators, *sides) if len(operators) == 1 else ("chain", operators, sides)
    return ("such", first[2][0], condition if len(items) == 1 else ("list", condition, *items[1:]))
