"""Laws of the points: what is equal at some of them only is not equal, whatever the order and wherever it parts."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.grading.numbers.numeric import equal_precise
from tbrm_bench.grading.numbers.points import LARGEST, domain_of, drawn_points, suggested
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree

BREAKS = st.integers(1, 10**6)
LETTERS = st.sampled_from("xyzabt")


def read(text: str) -> Tree:
    return readings(clean(text))[0]


def equal(left: str, right: str) -> bool | None:
    """Return the verdict, which must not depend on the order."""
    forward, backward = equal_precise(read(left), read(right))[0], equal_precise(read(right), read(left))[0]
    assert forward == backward
    return forward


@settings(max_examples=25)
@given(letter=LETTERS, at=BREAKS, slope=st.integers(1, 9))
def test_one_side_of_an_absolute_value_is_not_it(letter: str, at: int, slope: int) -> None:
    inner = f"{slope}{letter}-{at}"
    for spelling in (f"|{inner}|", rf"\sqrt{{({inner})^2}}"):
        assert equal(spelling, inner) is False
        assert equal(spelling, f"-({inner})") is False
        assert equal(spelling, rf"\max({inner},-({inner}))") is True


@given(letter=LETTERS, at=BREAKS)
def test_one_side_of_a_maximum_or_a_minimum_is_not_it(letter: str, at: int) -> None:
    for name in (r"\max", r"\min"):
        for side in (letter, str(at)):
            assert equal(f"{name}({letter},{at})", side) is False


@given(letter=LETTERS, at=st.integers(1, 999))
def test_a_flat_stretch_between_two_breakpoints_is_not_the_whole(letter: str, at: int) -> None:
    assert equal(f"|{letter}-{at}|+|{letter}+{at}|", str(2 * at)) is False


@settings(max_examples=25)
@given(divisor=st.integers(2, 60), shift=st.integers(1, 60))
def test_floor_and_ceiling_of_a_multiple_are_one_only_where_they_are(divisor: int, shift: int) -> None:
    floor = rf"\lfloor\frac{{n}}{{{divisor}}}\rfloor"
    assert equal(floor, rf"\lceil\frac{{n}}{{{divisor}}}\rceil") is False
    assert equal(floor, rf"\frac{{n}}{{{divisor}}}") is False
    assert equal(floor, rf"\lceil\frac{{n-{divisor - 1}}}{{{divisor}}}\rceil") is True
    assert equal(floor, rf"\lfloor\frac{{n+{divisor * shift}}}{{{divisor}}}\rfloor-{shift}") is True


@given(above=st.integers(1, 3000), below=st.integers(2, 2000))
def test_a_multiple_of_a_root_is_no_multiple_of_a_fraction(above: int, below: int) -> None:
    assert equal(r"\lfloor\sqrt{2}n\rfloor", rf"\lfloor\frac{{{above}}}{{{below}}}n\rfloor") in (False, None)


@given(degree=st.integers(2, 400), base=st.integers(1, 9), shift=st.integers(1, 10**6))
def test_equal_leading_digits_are_no_equality(degree: int, base: int, shift: int) -> None:
    power = f"(x+{base})^{{{degree}}}"
    assert equal(power, f"{power}-{shift}") is False
    assert equal(power, f"({base}+x)^{{{degree - 1}}}(x+{base})") is True


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\ln(ab)", r"\ln a+\ln b"),
        (r"\sqrt{ab}", r"\sqrt{a}\sqrt{b}"),
        (r"\sqrt{\frac{a}{b}}", r"\frac{\sqrt{ab}}{b}"),
        (r"\ln x^2", r"2\ln x"),
        (r"\sqrt{\frac{GM}{r}}", r"r\sqrt{\frac{GM}{r^3}}"),
        (r"\sqrt[3]{x^2}", r"x^{2/3}"),
        (r"|z|^2", r"z\bar{z}"),
    ],
)
def test_expressions_are_compared_where_both_are_real(left: str, right: str) -> None:
    assert equal(left, right) is True


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\ln x^2", r"2\ln(-x)"),
        (r"\ln|x|", r"\ln x"),
        (r"|x|", r"e^{\ln x}"),
        (r"\sqrt{x^2}", "x"),
        (r"|z|^2", "z^2"),
        (r"\operatorname{Re}(z)", "z"),
    ],
)
def test_a_smaller_domain_does_not_hide_a_sign(left: str, right: str) -> None:
    assert equal(left, right) is False


@given(left=st.sampled_from(["|x-3|", r"\lfloor y/7\rfloor", "n!", r"\sqrt{x^2+1}"]), at=st.integers(2, 500))
def test_points_are_signed_large_and_drawn_by_both_expressions(left: str, at: int) -> None:
    trees = read(left), read(f"x+n+y+{at}")
    domain = domain_of(*trees)
    points = list(drawn_points(*trees, domain))
    assert points == list(drawn_points(trees[1], trees[0], domain))
    values = [value for point in points for value in point.values()]
    assert max(values) > LARGEST / 10
    assert domain.integers == all(value.denominator == 1 and value > 0 for value in values)
    assert domain.integers or min(values) < 0


@given(at=BREAKS, slope=st.integers(1, 99))
def test_breakpoints_are_probed_from_both_sides(at: int, slope: int) -> None:
    pool = suggested(read(f"|{slope}x-{at}|"), read("0"))
    for point in (Fraction(at, slope), Fraction(-at, slope)):
        assert any(point < value < point + Fraction(1, 10) for value in pool)
        assert any(point - Fraction(1, 10) < value < point for value in pool)
