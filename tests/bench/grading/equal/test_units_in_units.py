"""A value in one measure cannot be counted in another as well."""

import itertools

import pytest

from tbrm_bench.grading import grade
from tbrm_bench.records import Status

UNITS = ("km", "miles", "hours", "kg", "cents", "dollars")


@pytest.mark.parametrize(("inner", "outer"), list(itertools.product(UNITS, repeat=2)))
def test_a_quantity_in_another_measure_is_not_that_many_of_it(inner: str, outer: str) -> None:
    answer = rf"\boxed{{(18\text{{ {inner}}})\text{{ {outer}}}}}"
    assert (grade(answer, rf"18\text{{ {outer}}}").status is Status.CORRECT) == (inner == outer)


@pytest.mark.parametrize("suffix", ["per hour", "each", "in total", "dollars"])
def test_words_that_go_with_a_currency_stay_allowed(suffix: str) -> None:
    assert grade(rf"\boxed{{\$18\text{{ {suffix}}}}}", r"\$18").status is Status.CORRECT
