r"""Congruences, as the whole numbers that they hold for.

    n \equiv 3 \pmod 4      n = 4k+3, n \equiv -1 \pmod 4, n \equiv 3, 7 \pmod 8, 2n \equiv 6 \pmod 8, 4 \mid n+1
    n \equiv \pm1 \pmod 6   n \equiv 1 \text{ or } 5 \pmod 6
    3 \pmod 4               3
    7                       2^{10} \equiv 7 \pmod 9, since that is so

Numbers are put into classes of one modulus. Where a modulus or a residue has letters, moduli and residues are compared.
`n = 4k + 3` counts as a class where the other side is a congruence, and k can only be a whole number.
"""

from collections.abc import Iterator, Sequence
from math import gcd, lcm
from typing import NamedTuple

from tbrm_bench.grading.equal.comparing import Compares
from tbrm_bench.grading.equal.linear import linear
from tbrm_bench.grading.equal.rows import matched
from tbrm_bench.grading.equal.shapes import spread
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import ZERO, Tree, items_of, symbols

MAX_MODULUS = 10_000
_SHAPES = ("mod", "rel", "list")
_PARAMETERS = frozenset("jklmqt")  # of a family; n in m = 2n + 1 is the problem's
INTEGER_LETTERS = frozenset("ijklmnpqrstabKMN")


class Classes(NamedTuple):
    """The residues of one modulus, and what has them; None where that is left out."""

    subject: Tree | None
    modulus: int
    residues: frozenset[int]


def compare_congruences(comparer: Compares, golds: Sequence[Tree], pred: Tree) -> Verdict | None:
    """Compare where at least one side has a modulus; None where neither has."""
    if pred[0] not in _SHAPES and not any(gold[0] in _SHAPES for gold in golds):
        return None
    golds, preds = [item for gold in golds for item in items_of(gold)], items_of(pred)
    in_gold, in_pred = any(map(_has_modulus, golds)), any(map(_has_modulus, preds))
    if not (in_gold or in_pred):
        return _as_families(golds, preds)
    wanted, given = _classes(golds), _classes(preds)
    if wanted is not None and given is not None:
        return _are_same(wanted, given), "congruence"
    if in_gold and in_pred:
        rows = [list(_congruences(side)) for side in (golds, preds)]
        if len(rows[0]) != len(rows[1]):
            return False, "congruence"
        return matched([[_same(comparer, mine, theirs) for theirs in rows[1]] for mine in rows[0]]), "congruence"
    if len(golds) == len(preds) == 1:
        return _with_number(comparer, golds[0], pred)
    return False, "congruence"


def _as_families(golds: Sequence[Tree], preds: Sequence[Tree]) -> Verdict | None:
    """Compare n = 4k + 3 with n = 4m - 1; None where these are no families of whole numbers, or not the same."""
    sides = (golds, preds)
    if any(item[:2] != ("rel", "=") or item[2][0] != "s" for side in sides for item in side):
        return None
    for item in (*golds, *preds):
        if not (item[2][1] in INTEGER_LETTERS and symbols(item[3]) <= _PARAMETERS and symbols(item[3])):
            return None
    wanted, given = _classes(golds), _classes(preds)
    is_same = wanted is not None and given is not None and _are_same(wanted, given)
    return (True, "congruence") if is_same else None


def _has_modulus(tree: Tree) -> bool:
    return tree[0] == "mod" or (tree[0] == "rel" and (tree[1] == "mid" or _is_remainder(tree[2], tree[3])))


def _is_remainder(left: Tree, right: Tree) -> bool:
    """Whether an equation says what is left of something: n \\bmod 4 = 3, and n = 3 \\bmod 4 by another hand."""
    return any(side[:2] == ("f", "mod") for side in (left, right)) and bool(symbols(left) | symbols(right))


def _congruences(items: Sequence[Tree]) -> Iterator[tuple[Tree, Tree]]:
    """Yield relations or values with their moduli: in "n = 1, 5 (mod 6)" a modulus counts for all before it."""
    moduli: list[Tree | None] = []
    for item in reversed(items):
        moduli.append(item[2] if item[0] == "mod" else moduli[-1] if moduli else None)
    subject: Tree | None = None
    for item, modulus in zip(items, reversed(moduli), strict=True):
        inner = item[1] if item[0] == "mod" else item
        inner, modulus = _as_congruence(inner, modulus)
        for value in spread(inner):
            if value[0] in ("rel", "chain"):
                subject = value[2] if value[0] == "rel" else value[2][0]
            elif subject is not None:
                value = ("rel", "=", subject, value)
            if modulus is not None:
                yield value, modulus


def _as_congruence(tree: Tree, modulus: Tree | None) -> tuple[Tree, Tree | None]:
    """Return divisibility and remainders as congruences."""
    if tree[0] != "rel" or modulus is not None:
        return tree, modulus
    if tree[1] == "mid":
        return ("rel", "=", tree[3], ZERO), tree[2]
    sides = [side[2] if side[:2] == ("f", "mod") else side for side in tree[2:]]
    moduli = [side[3] for side in tree[2:] if side[:2] == ("f", "mod")]
    return (("rel", tree[1], *sides), moduli[0]) if len(moduli) == 1 else (tree, None)


def _classes(items: Sequence[Tree]) -> Classes | None:
    """Return the classes that items stand for together; None where letters keep them from being known."""
    rows = list(_congruences(items)) if any(map(_has_modulus, items)) else []
    found = [_solved(tree, modulus) for tree, modulus in rows] or [_family(item) for item in items]
    classes = [row for row in found if row is not None]
    if len(classes) < len(found) or not classes:
        return None
    modulus = lcm(*(row.modulus for row in classes))
    subjects = {row.subject for row in classes}
    if modulus > MAX_MODULUS or len(subjects) > 1:
        return None
    residues = {n for row in classes for start in row.residues for n in range(start, modulus, row.modulus)}
    return Classes(classes[0].subject, modulus, frozenset(residues))


def _solved(tree: Tree, modulus_tree: Tree) -> Classes | None:
    modulus = _whole(modulus_tree)
    if modulus is None or not 1 < modulus <= MAX_MODULUS:
        return None
    if tree[0] == "chain":
        return _solved_chain(tree, modulus_tree)
    if tree[0] != "rel":
        rest = residue(tree, modulus)
        return Classes(None, modulus, frozenset([rest])) if rest is not None else None
    names = symbols(tree[2]) | symbols(tree[3])
    if tree[1] not in ("=", "!=") or not names:
        return None
    line = linear(("+", tree[2], ("-", tree[3])), next(iter(names))) if len(names) == 1 else None
    if line is None:
        rest = residue(tree[3], modulus)
        found = None if rest is None else Classes(canonical(tree[2]), modulus, frozenset([rest]))
    else:
        found = _roots(("s", next(iter(names))), residue(line[0], modulus), residue(line[1], modulus), modulus)
    if found is None or tree[1] == "=":
        return found
    return found._replace(residues=frozenset(range(modulus)) - found.residues)


def _roots(subject: Tree, slope: int | None, start: int | None, modulus: int) -> Classes | None:
    """Solve slope * n + start = 0."""
    if not slope or start is None or start % gcd(slope, modulus):
        return None
    common = gcd(slope, modulus)
    step = modulus // common
    first = -start // common * pow(slope // common, -1, step) % step if step > 1 else 0
    return Classes(subject, modulus, frozenset(range(first, modulus, step)))


def _solved_chain(tree: Tree, modulus: Tree) -> Classes | None:
    """Return n = 7 = 3 (mod 4) as n = 3 (mod 4), if all of it is so."""
    rows = [_solved(("rel", "=", tree[2][0], side), modulus) for side in tree[2][1:]]
    return rows[0] if set(tree[1]) == {"="} and len(set(rows)) == 1 else None


def _family(tree: Tree) -> Classes | None:
    """Return n = 4k + 3, or 4k + 3 alone, as a class."""
    subject, value = (tree[2], tree[3]) if tree[0] == "rel" and tree[1] == "=" else (None, tree)
    names = symbols(value)
    if len(names) != 1 or not names <= INTEGER_LETTERS or (subject is not None and subject[0] != "s"):
        return None
    line = linear(value, next(iter(names)))
    slope, start = (_whole(line[0]), _whole(line[1])) if line is not None else (None, None)
    if slope is None or start is None or not 1 < abs(slope) <= MAX_MODULUS:
        return None
    return Classes(subject, abs(slope), frozenset([start % abs(slope)]))


def _are_same(gold: Classes, pred: Classes) -> bool:
    if gold.subject is not None and pred.subject is not None and gold.subject != pred.subject:
        return False
    modulus = lcm(gold.modulus, pred.modulus)
    if modulus > MAX_MODULUS * 10:
        return gold[1:] == pred[1:]
    spread_out = [{n for start in side.residues for n in range(start, modulus, side.modulus)} for side in (gold, pred)]
    return spread_out[0] == spread_out[1]


def _same(comparer: Compares, gold: tuple[Tree, Tree], pred: tuple[Tree, Tree]) -> bool | None:
    """Compare congruences with letters in the modulus or in the residue."""
    verdicts = [comparer.value(gold[1], pred[1])[0], comparer.item(gold[0], pred[0])[0]]
    return False if False in verdicts else None if None in verdicts else True


def _with_number(comparer: Compares, gold: Tree, pred: Tree) -> Verdict:
    """Compare a congruence with a number: 15 (mod 17), or x = 15 (mod 17), gives 15; of 3 (mod 4) 3 is left."""
    if gold[0] == "mod":
        is_bare = gold[1][0] not in ("rel", "chain")
        return comparer.item(gold[1], pred) if is_bare and pred[0] not in ("rel", "chain") else (False, "congruence")
    if pred[0] != "mod" or exact(gold) is None:
        return (False, "congruence") if pred[0] == "mod" else comparer.item(gold, pred)
    sides = pred[1][2] if pred[1][0] == "chain" else pred[1][2:] if pred[1][0] == "rel" else (pred[1],)
    modulus, wanted = _whole(pred[2]), exact(gold)
    are_equations = pred[1][0] not in ("rel", "chain") or set(pred[1][1]) == {"="}
    if not are_equations or exact(sides[-1]) != wanted:
        return False, "congruence"
    if modulus is not None and (wanted is None or abs(wanted) >= modulus):  # 7 (mod 1) says nothing
        return False, "congruence"
    others = [side for side in sides[:-1] if not symbols(side)]
    if others and (modulus is None or any(residue(side, modulus) != residue(gold, modulus) for side in others)):
        return False, "congruence"
    return True, "congruence"


def residue(tree: Tree, modulus: int) -> int | None:
    """Return what a whole number leaves, without writing out its powers; None for what is no whole number."""
    value = exact(tree)
    if value is not None:
        return value.numerator % modulus if value.denominator == 1 else None
    if tree[0] == "^":
        base, exponent = residue(tree[1], modulus), _whole(tree[2])
        return pow(base, exponent, modulus) if base is not None and exponent is not None and exponent >= 0 else None
    if tree[0] not in ("+", "-", "*"):
        return None
    parts = [residue(part, modulus) for part in tree[1:]]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if tree[0] == "-":
        return -known[0] % modulus
    total = 0 if tree[0] == "+" else 1
    for part in known:
        total = (total + part if tree[0] == "+" else total * part) % modulus
    return total


def _whole(tree: Tree) -> int | None:
    value = exact(tree)
    return int(value) if value is not None and value.denominator == 1 else None
