r"""Can a gold be judged at all? Asked, in a worker, where a verdict on an answer to it did not come.

Examples: 2\sqrt{3} can, at 60 digits; \int_0^\infty e^{e^{e^x}} dx cannot: it runs out of time, alone as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tbrm_bench.grading.equal.equivalence import gold_in
from tbrm_bench.grading.equal.known_gold import read_gold
from tbrm_bench.grading.equal.shapes import infinity
from tbrm_bench.grading.equal.symbolic import by_sympy
from tbrm_bench.grading.numbers.numeric import Verdict, has_value
from tbrm_bench.grading.read.tree import Tree, children, walk
from tbrm_bench.records import Gold

# What an expression is made of, at its head; all other shapes are compared part by part.
_EXPRESSIONS = frozenset(("n", "c", "s", "+", "*", "/", "-", "^", "root", "f"))
_CONSTANTS = ("pi", "e", "i")
_PROBE = "7"


def judge_gold(request: Mapping[str, Any]) -> Verdict:
    """Return (True, "gold") for a gold that has values, or (None, rule) by what keeps them from being computed."""
    for gold in gold_in(request).each():
        verdict, rule = _judge_one(gold)
        if verdict is None:
            return None, rule
    return True, "gold"


def _judge_one(gold: Gold) -> Verdict:
    known = read_gold(gold)
    if known.trees is None:
        verdict, rule = by_sympy(_PROBE, gold)
        return (None, rule) if verdict is None or rule == "unreadable" else (True, "gold")
    for tree in known.trees:
        for part in _expressions(tree):
            verdict, rule = has_value(part)
            if verdict is None:
                return None, rule
    return True, "gold"


def _expressions(tree: Tree) -> Iterator[Tree]:
    """Yield the largest parts of a tree that should have a value: no words, no lists, no sets, no infinities."""
    if infinity(tree) or (tree[0] == "c" and tree[1] not in _CONSTANTS):
        return
    if all(part[0] in _EXPRESSIONS for part in walk(tree)):
        yield tree
        return
    for part in (tree[1],) if tree[0] == "q" else children(tree):  # not the unit
        yield from _expressions(part)
