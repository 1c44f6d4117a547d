"""What counts as equal where mathematicians differ, and what the parts of a comparison see of the comparer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.units import NO_UNIT, Unit


@dataclass(frozen=True, slots=True)
class GradingPolicy:
    """What counts as equal where mathematicians differ; docs/grading.md has an example of each."""

    missing_unit: bool = True  # 12 for 12 cm, and 12 cm for 12: the question names the unit
    missing_percent: bool = True  # 15 for 15 %, and 15 % for 15
    missing_base: bool = True  # 52 for 52_8
    vector_as_tuple: bool = False  # a column for (1, 2, 3)
    dotted_thousands: bool = False  # 1.234.567 for 1234567
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    unit: Unit = NO_UNIT  # of a gold that is stored without it


class Compares(Protocol):
    """The part of `compare.Comparer` that comparing quantities, relations and approximations calls back."""

    @property
    def policy(self) -> GradingPolicy:
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
