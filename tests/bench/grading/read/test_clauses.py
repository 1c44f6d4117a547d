"""Clauses and sets in words are rewritten where all of them is understood, and nowhere else."""

import pytest

from tbrm_bench.grading.read.builders import without_builder
from tbrm_bench.grading.read.clauses import as_cases, without_clauses


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (r"1\text{ if }n=2\text{, otherwise }n^2", [r"1 & \text{if} n=2", r"n^2 & \text{otherwise}"]),
        (r"1\text{ if }n=2,\ n^2\text{ otherwise}", [r"1 & \text{if} n=2", r"n^2 & \text{otherwise}"]),
        (r"\text{1 if it is round, otherwise 2}", [r"1 & \text{if}\text{ it is round}", r"2 & \text{otherwise}"]),
    ],
)
def test_cases_in_words_become_rows(text: str, rows: list[str]) -> None:
    found = as_cases(text)
    for row in rows:
        assert row.replace(" ", "") in found.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        r"1\text{ if }n=2",
        r"1, 2\text{ if }n=2",
        r"1\text{ if }n=2, 3",
        r"\text{if }n=2\text{ then }1\text{, otherwise }3",
        r"\text{otherwise }1\text{ if }n=2",
        r"1\text{ or }2\text{, otherwise }3",
    ],
)
def test_values_without_a_condition_are_no_cases(text: str) -> None:
    assert as_cases(text) == ""
    assert "cases" not in without_clauses(text)


def test_a_letter_is_put_in_where_the_answer_defines_it() -> None:
    text = r"\lfloor\varphi n\rfloor, \text{ where } \varphi = \frac{1+\sqrt5}{2}"
    assert without_builder(text) == r"\lfloor(\frac{1+\sqrt5}{2}) n\rfloor"
    for other in (r"x = 1, \lambda = 2", r"\lambda + 1, \lambda = \lambda^2", r"n, \text{ where } \varphi = 2"):
        assert without_builder(other) == other


def test_a_letter_with_its_condition_is_no_form() -> None:
    assert without_builder(r"\{2k\pi : k \in \mathbb{Z}\}") == r"2k\pi, k \in \mathbb{Z}"
    for other in (r"\{x : x > 0\}", r"\{x \in \mathbb{R} : x > -1/2\}", r"\{2, 3\}"):
        assert without_builder(other) == other
