"""What counts as equal where mathematicians differ, and what the parts of a comparison see of the comparer."""

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
