"""Laws of what counts without a box: a value that is concluded, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading.find.extract import extract

VALUES = st.one_of(st.integers(2, 9999).map(str), st.integers(2, 99).map("$n = {}$".format))
CONCLUSIONS = ("So the answer is {}.", "Therefore, we get {}.", "Hence the total is {}", "The final answer is {}.")
# What is said of a value that is not concluded.
UNCONCLUDED = (
    "Suppose the answer is {}.",
    "If the answer is {}, then the sum is odd.",
    "The answer cannot be {}.",
    "So it is not {}.",
    "Is the answer {}?",
    "We will show that the answer is {}.",
    "The problem says that the answer is {}.",
    "For example, the answer is {}.",
    "Maybe the answer is {}.",
    "The answer is {}. Wait, that is wrong.",
    "So the first sum is {}. Next",
    "First, the sum is {}.",
)


def holds(value: str, answer: str | None) -> bool:
    return answer is not None and value.strip("$").removeprefix("n = ") in answer


@given(VALUES, st.sampled_from(CONCLUSIONS))
def test_a_conclusion_is_found(value: str, said: str) -> None:
    assert holds(value, extract(said.format(value)).answer)


@given(VALUES, st.sampled_from(UNCONCLUDED))
def test_what_is_not_concluded_is_not_found(value: str, said: str) -> None:
    assert not holds(value, extract(f"We look at both parts.\n\n{said.format(value)}").answer)


@given(VALUES, VALUES, st.sampled_from(UNCONCLUDED), st.sampled_from(CONCLUSIONS))
def test_a_conclusion_counts_whatever_was_said_before(value: str, other: str, said: str, conclusion: str) -> None:
    assert holds(value, extract(f"{said.format(other)}\n\n{conclusion.format(value)}").answer)


@given(VALUES, st.sampled_from(UNCONCLUDED))
def test_a_box_counts_whatever_is_said_around_it(value: str, said: str) -> None:
    bare = value.strip("$")
    assert extract(said.format(rf"\boxed{{{bare}}}")).answer == bare


@pytest.mark.parametrize(
    "closing", ["I hope it is correct.", "This completes the solution.", "Let me know!", "We are done."]
)
def test_closing_words_are_no_step_further(closing: str) -> None:
    assert extract(f"So there are 12 apples. {closing}").answer == "12"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It cannot be 9, so it is 10.", "10"),
        ("Therefore, $n = 10$, not 9.", "10"),
        ("So the number of students who do not play is 10.", "10"),
        ("Let $2x = 20$, so $x = 10$.", "10"),
        ("So the minimum is $10$, attained when $x = 3$.", "10"),
        ("The answer is 10. Suppose it were larger: a contradiction.", "10"),
    ],
)
def test_words_that_concern_something_else_do_not_matter(text: str, answer: str) -> None:
    assert extract(text).answer == answer
