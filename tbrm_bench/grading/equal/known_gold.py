"""A gold as the rules need it, read once.

Example: of the gold `\\text{(B)}` the choice is B; of `\\frac{1}{2}` there is a tree and nothing else.
"""

import dataclasses
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tbrm_bench.grading.equal.comparing import GoldPolicy
from tbrm_bench.grading.equal.membership import described_gold
from tbrm_bench.grading.read import words
from tbrm_bench.grading.read.described import Described
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.units import DEGREE, NO_UNIT, PERCENT, measures, word_unit
from tbrm_bench.records import DEFAULT_POLICY, Gold, GradingPolicy

INTEGER = re.compile(r"[+-]?\d{1,300}")
_SPACES = re.compile(r"\s+(?!\d)|(?<!\d)\s+")
_PAIR = re.compile(r"(?:[(\[]|\\\{)\s*-?\d{1,3},\d{3}\s*(?:\\right\s*)?(?:[)\]]|\\\})(?!\s*[\w(^])")
_CLOCK = re.compile(r"\d{1,2}:\d\d[ap]m")  # 3:45 p.m.


class ReadGold(NamedTuple):
    """A gold as the rules need it, made once."""

    text: str  # without spaces
    integer: int | None
    choice: str | None
    letter: str | None  # a capital that may be a choice or a symbol: E
    heading: str | None  # the choice that a gold begins with: (D) 12
    words: str | None
    members: list[str] | None  # of a list in words: Ann and Ben
    digits: str | None  # of a gold in a base that needs letters: 1A7
    trees: tuple[Tree, ...] | None  # None when one of the answers is unreadable
    policy: GoldPolicy
    described: Described | None  # a set of whole numbers, of a gold that may describe one: odd n


@lru_cache(maxsize=16384)
def read_gold(gold: Gold, policy: GradingPolicy = DEFAULT_POLICY) -> ReadGold:
    """Read a gold; its alternatives are golds of their own (see `decide`)."""
    cleaned = [clean(answer) for answer in gold.answers]
    single = cleaned[0] if len(cleaned) == 1 else None
    trees = [readings(answer) for answer in cleaned]
    is_text = single is not None and (
        gold.kind == "text"
        or _CLOCK.fullmatch(words.bare(single))
        or (bool(trees[0]) and (trees[0][0][0] == "text" or _is_said(trees[0][0])))
        or not trees[0]
    )
    return ReadGold(
        text=unspaced(",".join(cleaned)),
        integer=int(single) if single is not None and INTEGER.fullmatch(single) else None,
        choice=words.choice(single, with_text=False) if is_text and single is not None else None,
        letter=single if single is not None and re.fullmatch("[A-J]", single) else None,
        heading=words.choice(single, with_text=True) if single is not None and "(" in single[:12] else None,
        members=members if is_text and single is not None and len(members := words.members(single)) > 1 else None,
        digits=trees[0][0][1] if single is not None and trees[0] and trees[0][0][0] == "base" else None,
        words=words.meaning(single) or None if is_text and single is not None else None,
        trees=tuple(map(_likeliest, cleaned, trees)) if all(trees) else None,
        policy=_gold_policy(policy, gold.abs_tolerance, gold.rel_tolerance, gold.unit),
        described=described_gold(gold),
    )


@lru_cache(maxsize=1024)
def _gold_policy(policy: GradingPolicy, absolute: float, relative: float, unit: str) -> GoldPolicy:
    return GoldPolicy(
        **dataclasses.asdict(policy),
        absolute_tolerance=absolute,
        relative_tolerance=relative,
        unit=_gold_unit(unit),
    )


def _likeliest(cleaned: str, trees: Sequence[Tree]) -> Tree:
    """Return the likeliest reading of a gold: (12,102) is a point or an interval, and 12,102 a number."""
    return trees[-1] if len(trees) > 1 and _PAIR.search(cleaned) else trees[0]


def _is_said(tree: Tree) -> bool:
    """Whether words behind a symbol say something of it, n is odd, and measure nothing."""
    return tree[0] == "q" and tree[1][0] == "s" and not measures(tree[2], at_most_one=True)


def unspaced(text: str) -> str:
    """Return a text without its spaces, but for those between two digits: 4 2 is not 42."""
    return _SPACES.sub("", text)


def _gold_unit(unit: str) -> tuple[Any, Any]:
    text = clean(unit).replace("{", "").replace("}", "")
    if not text:
        return NO_UNIT
    if "circ" in text:
        return DEGREE
    if text == "%":
        return PERCENT
    base, _, power = text.partition("^")
    dimensions, factor = word_unit(base)
    if power.isdigit():
        return tuple((name, count * int(power)) for name, count in dimensions), factor ** int(power)
    return dimensions, factor
