"""Words behind a number: what was counted leaves it as it is, everything else takes it back."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.read.counted import counted, introduces, takes_back
from tbrm_bench.records import Status

THINGS = [
    *("apples", "students", "ordered pairs", "red balls", "real solutions", "people", "ways", "lattice points"),
    *("cups of coffee", "subsets of the set", "pages per day", "boys and girls", "more students", "non-empty sets"),
]
TAKING_BACK = [
    *("or more", "or less", "at least", "at most", "is not the answer", "is wrong", "isn't it", "maybe", "perhaps"),
    *("otherwise", "squared", "factorial", "halves", "tenths", "inverse", "plus one", "minus two", "fails", "million"),
    *("does not work", "if n is even", "unless it is odd", "hundred", "thousand", "dozen", "or so", "modulo seven"),
    *("more than that", "less than it", "times two", "nineteen", "or nineteen", "not", "cannot be", "(wrong)"),
]
NUMBERS = st.integers(2, 10**6)


@given(NUMBERS, st.sampled_from(THINGS))
def test_what_was_counted_leaves_the_number_as_it_is(number: int, thing: str) -> None:
    assert grade(rf"\boxed{{{number}\text{{ {thing}}}}}", str(number)).status is Status.CORRECT
    assert grade(rf"\boxed{{{number} {thing}}}", str(number)).status is Status.CORRECT
    assert grade(rf"\boxed{{{number}\text{{ {thing}}}}}", str(number + 1)).status is Status.WRONG


@given(NUMBERS, st.sampled_from(TAKING_BACK))
def test_words_that_take_the_number_back_are_never_left_out(number: int, words: str) -> None:
    assert grade(rf"\boxed{{{number}\text{{ {words}}}}}", str(number)).status is Status.WRONG
    assert grade(rf"\boxed{{{number} {words}}}", str(number)).status is Status.WRONG


@given(NUMBERS, st.sampled_from(THINGS), st.sampled_from(TAKING_BACK))
def test_nor_are_they_behind_what_was_counted(number: int, thing: str, words: str) -> None:
    assert grade(rf"\boxed{{{number}\text{{ {thing} {words}}}}}", str(number)).status is Status.WRONG


@given(st.integers(1, 10**4))
def test_words_that_multiply_are_numbers(number: int) -> None:
    for words, value in (("dozen", 12), ("dozen eggs", 12), ("hundred", 100), ("thousand", 1000), ("million", 10**6)):
        assert grade(rf"\boxed{{{number}\text{{ {words}}}}}", str(value * number)).status is Status.CORRECT
        assert grade(rf"\boxed{{{number}\text{{ {words}}}}}", str(number)).status is Status.WRONG


def test_one_thing_is_no_plural_and_many_are() -> None:
    for thing in ("way", "solution", "ordered pair"):
        assert counted(thing, lambda _: False) == "one"
        assert grade(rf"\boxed{{1\text{{ {thing}}}}}", "1").status is Status.CORRECT
        assert grade(rf"\boxed{{18\text{{ {thing}}}}}", "18").status is Status.WRONG


def test_words_before_a_value_announce_it_or_take_it_back() -> None:
    for words in ("The answer is", "Final answer: ", "exactly", "There are", "approximately"):
        assert introduces(words)
        assert not takes_back(words)
    for words in ("The answer is not", "at least", "more than", "Not equal to: ", "17 is wrong, so it is", "twice"):
        assert not introduces(words)
    for words in ("The answer is not", "Wrong: ", "anything but: ", "17 or else it is"):
        assert takes_back(words)
