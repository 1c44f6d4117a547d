"""Votes: equal answers share a class, the classes do not depend on the order, and never overlap."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.grading import GraderPool

GROUPS = [
    ["1/2", "0.5", r"50\%", r"x = \frac12", r"\frac{2}{4}", "2^{-1}"],
    ["50"],
    ["2", "02", "2.0", r"\sqrt{4}"],
    [r"\sqrt{12}", r"2\sqrt{3}", r"\frac{6}{\sqrt{3}}"],
    ["3.4641016151377544"],
    ["(1,2)", "(1, 2)"],
    ["(2,1)"],
    ["1,2", "2,1", r"\{1,2\}"],
    [r"\text{East}", "east"],
    ["A", "(A)", r"\text{A}"],
    ["x^2-1", "(x-1)(x+1)"],
    ["{{{"],
]


@pytest.fixture(scope="module")
def pool() -> Iterator[GraderPool]:
    with GraderPool() as graders:
        yield graders


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_classes_are_the_groups_in_every_order(pool: GraderPool, seed: int) -> None:
    answers = [(text, group) for group, texts in enumerate(GROUPS) for text in texts]
    random.Random(seed).shuffle(answers)
    (labels,) = pool.vote_classes([[text for text, _ in answers]])
    names: dict[int, int] = {}
    for (text, group), label in zip(answers, labels, strict=True):
        assert names.setdefault(group, label) == label, text
    assert len(set(names.values())) == len(GROUPS)


def test_a_unit_parts_a_class_only_when_answers_disagree_about_it(pool: GraderPool) -> None:
    agreed, disagreed = pool.vote_classes(
        [[r"5 \text{ cm}", "5", r"5\,\text{cm}"], [r"5 \text{ cm}", "5", r"5 \text{ m}"]]
    )
    assert agreed == [0, 0, 0]
    assert len(set(disagreed)) == 3


def test_no_answers_have_no_classes(pool: GraderPool) -> None:
    assert pool.vote_classes([[], ["7"]]) == [[], [0]]
