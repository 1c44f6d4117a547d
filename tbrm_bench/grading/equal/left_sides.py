r"""What a definition defines: which left sides name the same thing, so that only the right sides need comparing.

    f(x) = 2x      y = 2x, f(t) = 2t       one function; g(x) = 2x is another
    f'(x) = 2x     \frac{df}{dx} = 2x      one derivative, and of f of its own order only
    f(3) = 5       5                       f(4) = 5 is of another point
    a_n = n^2      a_k = k^2, a(n) = n^2   one sequence

A left side has a name, its order (primes, dots, the order of a quotient of differentials; -1 for an inverse) and its
arguments.
"""

import re
from typing import NamedTuple

from tbrm_bench.grading.numbers.exact import canonical
from tbrm_bench.grading.read.tree import ONE, Tree, symbols, walk
from tbrm_bench.grading.read.vocabulary import ACCENTS

_APPLIED = re.compile(r"(?P<name>[^()'*/^]+?)(?P<inverse>_-1)?(?P<primes>'*)(?:\((?P<arguments>[^()]*)\))?")
_INDEXED = re.compile(r"(?P<name>[a-zA-Z])_(?P<index>[nkmij])")
_QUOTIENT = re.compile(
    r"\*\((?:d|\^\(d,(?P<order>[2-9])\)),(?P<name>\w+)\)/\*\(d,(?(order)\^\((?P<letter>\w+),(?P=order)\)|(?P<first>\w+))\)"
)
_LETTER = re.compile(r"[a-z]|alpha|beta|gamma|theta|lambda|mu|phi|xi|tau")
_ACCENTED = re.compile(r"(?P<accent>[a-z]+)\((?P<name>\w+)\)")
_DOTS = {"dot": "'", "ddot": "''"}


class LeftSide(NamedTuple):
    """The parts of a name such as f'(x)."""

    name: str
    order: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The arguments of a definition: letters, none twice; none if one is a number."""
        are_letters = all(_LETTER.fullmatch(argument) for argument in self.arguments)
        return self.arguments if are_letters and len(set(self.arguments)) == len(self.arguments) else ()


def left_side(tree: Tree) -> LeftSide | None:
    """Return the parts of the name on a left side; None for anything but a name."""
    if tree[0] != "s":
        return None
    if quotient := _QUOTIENT.fullmatch(tree[1]):
        return LeftSide(quotient["name"], "'" * int(quotient["order"] or 1), (quotient["letter"] or quotient["first"],))
    if indexed := _INDEXED.fullmatch(tree[1]):
        return LeftSide(indexed["name"], "", (indexed["index"],))
    match = _APPLIED.fullmatch(tree[1])
    if match is None:
        return LeftSide(tree[1])
    arguments = tuple(match["arguments"].split(",")) if match["arguments"] else ()
    if match["name"] in ACCENTS:
        return LeftSide(arguments[0], _DOTS[match["name"]]) if match["name"] in _DOTS else LeftSide(tree[1])
    return LeftSide(match["name"], match["primes"] + ("-1" if match["inverse"] else ""), arguments)


def with_letters_of(gold: Tree, pred: Tree) -> Tree:
    """Return f(t) = t^2 with the letters of f(x) = x^2, which both only stand for arguments."""
    names = left_side(gold[2]), left_side(pred[2])
    if names[0] is None or names[1] is None or names[0][:2] != names[1][:2]:
        return pred
    if all("/" in tree[2][1] for tree in (gold, pred)):
        return pred  # dy/dt says of which variable: it is the problem's
    wanted, given = names[0].letters, names[1].letters
    if len(wanted) != len(given) or wanted == given or (set(wanted) - set(given)) & _letters_in(pred[3]):
        return pred
    return ("rel", "=", gold[2], renamed(pred[3], dict(zip(given, wanted, strict=True))))


def renamed(tree: Tree, names: dict[str, str]) -> Tree:
    """Return a tree with other names for its symbols, all at once."""
    if len(tree) == 2 and tree[0] == "s":
        accented = _ACCENTED.fullmatch(tree[1]) if tree[1] not in names else None
        if accented and accented["accent"] in ACCENTS:
            return ("s", f"{accented['accent']}({names.get(accented['name'], accented['name'])})")
        return ("s", names.get(tree[1], tree[1]))
    return tuple(renamed(part, names) if isinstance(part, tuple) else part for part in tree)


def _letters_in(tree: Tree) -> set[str]:
    r"""Return the names of the free symbols, with those under an accent: of \bar{y} also y."""
    names = symbols(tree)
    accented = (_ACCENTED.fullmatch(name) for name in names)
    return names | {match["name"] for match in accented if match and match["accent"] in ACCENTS}


def same_member(gold: Tree, pred: Tree) -> bool:
    """Whether x \\in A and y \\in B are about one thing: one name, or f(x) here and y there."""
    sides = gold[2], pred[2]
    if any(side[0] != "s" for side in sides):
        return canonical(gold[2]) == canonical(pred[2])
    return gold[2] == pred[2] or define_the_same(("rel", "=", *sides[:1], ("dots",)), ("rel", "=", sides[1], ("dots",)))


def in_order_of(gold: Tree, pred: Tree) -> Tree:
    """Return b : a = 2 : 1 as a : b = 1 : 2, where the gold's left side is a : b; any other equation as it is."""
    if gold[2][0] != pred[2][0] or gold[2][0] not in ("ratio", "/") or len(gold[2]) != len(pred[2]):
        return pred
    wanted, given = (list(map(canonical, tree[2][1:])) for tree in (gold, pred))
    if wanted == given or len(set(given)) < len(given) or set(wanted) != set(given):
        return pred
    if gold[2][0] == "/":
        return ("rel", "=", gold[2], ("/", ONE, pred[3]))
    if pred[3][0] != "ratio" or len(pred[3]) != len(pred[2]):
        return pred
    return ("rel", "=", gold[2], ("ratio", *(pred[3][1 + given.index(part)] for part in wanted)))


def row_in_order_of(gold: Tree, pred: Tree) -> Tree | None:
    """Return (y, x) = (2, 1) as (x, y) = (1, 2), where that is the gold's left side; None for other letters."""
    if any(tree[:2] != ("rel", "=") or tree[2][0] != "br" or tree[3][0] != "br" for tree in (gold, pred)):
        return pred
    wanted, given = (list(map(canonical, tree[2][3:])) for tree in (gold, pred))
    if gold[2][1:3] != pred[2][1:3] or len(set(given)) < len(given) or set(wanted) != set(given):
        return None
    if len(pred[3]) != len(pred[2]):
        return pred
    cells = (pred[3][3 + given.index(part)] for part in wanted)
    return ("rel", "=", gold[2], (*pred[3][:3], *cells))


def define_the_same(gold: Tree, pred: Tree) -> bool:
    """Whether two definitions are of one thing: one name, or a function that is called y here and f(x) there."""
    if gold[2] == pred[2]:
        return True
    first, second = left_side(gold[2]), left_side(pred[2])
    if first is None or second is None or pred[2] in walk(pred[3]):
        return False
    if first.order != second.order and (second != LeftSide("y") or first.order != "-1"):
        return False
    if first.arguments and second.arguments:
        return first.name == second.name and first.arguments == second.arguments
    applied, bare = (first, second) if first.arguments else (second, first)
    return bool(applied.letters) and bare.name in (applied.name, "y")
