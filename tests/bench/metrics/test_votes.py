"""Laws of maj@k: it is the mean over all ways to break a tie, and only that."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.metrics.votes import majority_score


def by_drawing(answers: list[int], right: int) -> Fraction:
    """Enumerate the winners: each answer with the most votes wins in an equal share of the draws."""
    votes = Counter(answers)
    winners = [answer for answer, count in votes.items() if count == max(votes.values())]
    return Fraction(winners.count(right), len(winners))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 4))
def test_is_the_mean_over_all_ways_to_break_a_tie(answers: list[int], right: int) -> None:
    votes = Counter(answers)
    score = majority_score(list(votes.values()), [count if a == right else 0 for a, count in votes.items()])
    assert score == pytest.approx(float(by_drawing(answers, right)), abs=1e-15)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=6), st.randoms())
def test_does_not_depend_on_the_order_of_the_classes(classes: list[tuple[int, bool]], random: object) -> None:
    def score() -> float:
        return majority_score([v for v, _ in classes], [v * right for v, right in classes])

    before = score()
    random.shuffle(classes)  # type: ignore[attr-defined]
    assert score() == pytest.approx(before, abs=1e-15)


def test_the_minority_does_not_count_even_if_it_is_right() -> None:
    assert majority_score([3, 2], [0, 2]) == 0
    assert majority_score([3, 2], [3, 0]) == 1
    assert majority_score([2, 2, 1], [0, 2, 0]) == 0.5


def test_a_class_that_was_graded_both_ways_scores_its_share() -> None:
    assert majority_score([4, 1], [3, 0]) == 0.75


def test_a_question_without_any_vote_scores_0() -> None:
    assert majority_score([], []) == 0


@pytest.mark.parametrize(("votes", "correct"), [([1], [2]), ([0], [0]), ([1], [-1]), ([1, 1], [1])])
def test_refuses_votes_that_cannot_be(votes: list[int], correct: list[int]) -> None:
    with pytest.raises(ValueError, match="answer class"):
        majority_score(votes, correct)
