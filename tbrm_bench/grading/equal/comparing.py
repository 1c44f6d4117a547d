"""What counts as equal where mathematicians differ, and what the parts of a comparison see of the comparer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.units import NO_UNIT, Unit
from tbrm_bench.records import GradingPolicy


@dataclass(frozen=True, slots=True)
class GoldPolicy(GradingPolicy):
    """The switches of a GradingPolicy, and what one gold adds to them."""

    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    unit: Unit = NO_UNIT  # of a gold that is stored without it

    @property
    def is_tolerant(self) -> bool:
        """Whether a number near the gold is right."""
        return bool(self.absolute_tolerance or self.relative_tolerance)


class Compares(Protocol):
    """The part of `compare.Comparer` that comparing quantities, relations and approximations calls back."""

    @property
    def policy(self) -> GoldPolicy:
        """What counts as equal."""

    @property
    def precise(self) -> bool:
        """Whether nothing is to be left open that can be computed."""

    def within(self, half: float) -> Self:
        """Return a comparer that takes values for equal that are at most `half` apart."""

    def item(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare one value with one value."""

    def value(self, gold: Tree, pred: Tree) -> Verdict:
        """Compare two expressions."""

    def all_items(self, golds: Sequence[Tree], preds: Sequence[Tree], rule: str) -> Verdict:
        """Compare values in order."""

    def answers(self, golds: Sequence[Tree], pred: Tree) -> Verdict:
        """Compare all gold answers with all that a completion gives, in any order."""

    def as_written(self, golds: Sequence[Tree], pred: Tree) -> Verdict:
        """Compare all gold answers with all that a completion gives, letter for letter."""
