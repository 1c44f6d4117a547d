"""Answers read as a whole: lists with thousands marks, dotted numbers, remainders, named ratios, prose."""

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.whole import prose, without_dots
from tbrm_bench.records import Gold, Status

LARGE = st.integers(1000, 10**9)


@given(st.lists(LARGE, min_size=2, max_size=5, unique=True), st.sampled_from([", ", "; ", r"\text{ and }"]))
def test_a_list_of_numbers_with_thousands_marks_is_that_list(numbers: list[int], joint: str) -> None:
    answer = rf"\boxed{{{joint.join(f'{number:,}' for number in numbers)}}}"
    assert grade(answer, Gold(tuple(map(str, numbers)))).status is Status.CORRECT
    assert grade(answer, Gold(tuple(map(str, [*numbers[:-1], numbers[-1] + 1])))).status is Status.WRONG


@given(st.integers(10**6, 10**12))
def test_points_are_thousands_marks_where_a_policy_says_so(number: int) -> None:
    dotted = f"{number:,}".replace(",", ".")
    assert without_dots(dotted) == str(number)
    assert grade(rf"\boxed{{{dotted}}}", str(number)).status is Status.WRONG


@given(st.decimals(0, 999, places=3))
def test_a_decimal_stays(value: object) -> None:
    assert without_dots(str(value)) == str(value)


@given(st.integers(-(10**6), 10**6), st.integers(1, 999))
def test_a_remainder_is_what_division_leaves(value: int, modulus: int) -> None:
    assert grade(rf"\boxed{{{value}\bmod {modulus}}}", str(value % modulus)).status is Status.CORRECT
    assert grade(rf"\boxed{{{value}\bmod {modulus}}}", str(modulus)).status is Status.WRONG


@given(st.integers(2, 99), st.integers(2, 99))
def test_a_named_ratio_is_its_ratio(left: int, right: int) -> None:
    gold = f"V_1:V_2={left}:{right}"
    for answer in (f"{left}:{right}", f"{2 * left}:{2 * right}", rf"{left}\text{{ to }}{right}", gold):
        assert grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT
    assert (grade(rf"\boxed{{{right}:{left}}}", gold).status is Status.CORRECT) == (left == right)


def test_words_are_prose_and_mathematics_is_none() -> None:
    for text in ("No solutions", "All primes p > 3", "yes", "DNE", "Bob wins", "right triangle"):
        assert prose(text) is not None
    for text in (
        "sqrt(2)",
        "theta",
        "arctan x",
        "xy",
        "Area = 12",
        "all real numbers",
        "x in meters",
        "pi/2",
        "max(1,2)",
    ):
        assert prose(text) is None
    assert readings("forty-two") == (("n", 42),)
