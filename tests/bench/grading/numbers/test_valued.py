"""Laws of answers without a value: no simplification makes one of them a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.numbers.valued import lacks_value
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.records import Status

NOTHING = st.sampled_from(
    [
        *(r"\frac{0}{0}", r"\frac{5-5}{2-2}", r"\frac{1}{0}", r"\ln 0", r"0^0", r"0^{-1}", r"\tan 90^\circ"),
        *(r"\csc\pi", r"\log_1 2", r"(-1)!", r"\frac{x-x}{x-x}", r"\frac{1}{\sqrt8-2\sqrt2}", r"\infty"),
        *(r"\infty-\infty", r"\frac{\infty}{\infty}", r"\frac{1}{\sin^2x+\cos^2x-1}", r"\frac{0}{1-0.\overline{9}}"),
    ]
)
VALUES = st.integers(-999, 999)


@given(nothing=NOTHING, value=VALUES)
@pytest.mark.parametrize(
    "form",
    [
        r"{value}+0\cdot\left({nothing}\right)",
        r"{value}+\left({nothing}\right)-\left({nothing}\right)",
        r"{value}\cdot\frac{{{nothing}}}{{{nothing}}}",
        r"{value}\cdot\left({nothing}\right)^0",
        r"x={value}+0\cdot\left({nothing}\right)",
    ],
)
def test_what_has_no_value_is_no_part_of_one(form: str, nothing: str, value: int) -> None:
    answer = form.format(value=value, nothing=nothing)
    assert grade(rf"\boxed{{{answer}}}", str(value)).status is Status.WRONG


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{x}{x}",
        r"\cot\frac\pi2",
        "0!",
        r"x^0",
        r"(-\infty,0]",
        r"+\infty",
        r"\frac{1}{\pi-3}",
        r"\frac{5\text{ m}}{2}",
    ],
)
def test_what_has_a_value_or_is_an_infinity_keeps_it(text: str) -> None:
    assert lacks_value(readings(clean(text))[0], precise=True) is False
