"""Laws of reading and of exact values, on random expressions whose value is known by construction."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tbrm_bench.grading.numbers.balls import FLOATS, Undefined, precise_field
from tbrm_bench.grading.numbers.evaluate import evaluate
from tbrm_bench.grading.numbers.exact import canonical, exact
from tbrm_bench.grading.numbers.numeric import equal_fast, equal_precise
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree

Valued = tuple[str, Fraction]


def leaf(value: int) -> Valued:
    return str(value), Fraction(value)


def plus(left: Valued, right: Valued) -> Valued:
    return f"{left[0]}+{right[0]}", left[1] + right[1]


def minus(left: Valued, right: Valued) -> Valued:
    return rf"{left[0]} - \left({right[0]}\right)", left[1] - right[1]


def times(left: Valued, right: Valued) -> Valued:
    return rf"({left[0]}) \cdot ({right[0]})", left[1] * right[1]


def over(left: Valued, right: Valued) -> Valued:
    return rf"\dfrac{{{left[0]}}}{{{right[0]}}}", left[1] / right[1] if right[1] else Fraction(0)


def squared(value: Valued) -> Valued:
    return f"({value[0]})^{{2}}", value[1] ** 2


RATIONAL: st.SearchStrategy[Valued] = st.recursive(
    st.integers(0, 99).map(leaf),
    lambda inner: (
        st.builds(plus, inner, inner)
        | st.builds(minus, inner, inner)
        | st.builds(times, inner, inner)
        | st.builds(over, inner, inner.filter(lambda valued: valued[1] != 0))
        | inner.map(squared)
    ),
    max_leaves=8,
)
IRRATIONAL = st.recursive(
    st.sampled_from([r"\pi", "e", "2", "3", r"\frac{5}{7}", "x", "y_{1}", "i"]),
    lambda inner: (
        st.builds("({}+{})".format, inner, inner)
        | st.builds("({}-{})".format, inner, inner)
        | st.builds(r"{} \cdot {}".format, inner, inner)
        | st.builds(r"\sqrt{{{}}}".format, inner)
        | st.builds(r"\sin({})".format, inner)
        | st.builds(r"e^{{{}}}".format, inner)
    ),
    max_leaves=7,
)
POINT = {"x": Fraction(7, 5), "y_1": Fraction(11, 13)}


def read(text: str) -> Tree:
    return readings(clean(text))[0]


@given(valued=RATIONAL)
def test_a_rational_expression_has_its_value(valued: Valued) -> None:
    text, value = valued
    assert exact(read(text)) == value


@given(valued=RATIONAL)
def test_the_exact_value_lies_in_the_ball_of_floats(valued: Valued) -> None:
    text, value = valued
    tree = read(text)
    try:
        approximation, error = evaluate(("+", tree, ("c", "pi"), ("-", ("c", "pi"))), {}, FLOATS)
    except Undefined:
        assume(False)
    assert abs(Fraction(approximation) - value) <= Fraction(error)


@given(text=IRRATIONAL)
def test_the_ball_of_floats_holds_the_value_of_sixty_digits(text: str) -> None:
    tree = read(text)
    try:
        rough, error = evaluate(tree, POINT, FLOATS)
        fine, tiny = evaluate(tree, POINT, precise_field(60))
    except Undefined:
        assume(False)
    assert abs(complex(rough) - complex(fine)) <= error + float(tiny) + 1e-300


@given(left=IRRATIONAL, right=IRRATIONAL)
def test_order_and_spelling_change_no_canonical_form(left: str, right: str) -> None:
    assert canonical(read(f"{left}+{right}")) == canonical(read(f"{right}+{left}"))
    assert canonical(read(f"({left})({right})")) == canonical(read(rf"\left({right}\right) \times ({left})"))


@given(text=IRRATIONAL)
def test_a_canonical_form_keeps_the_value(text: str) -> None:
    tree = read(text)
    try:
        values = [evaluate(form, POINT, FLOATS) for form in (tree, canonical(tree))]
    except Undefined:
        assume(False)
    assert abs(values[0][0] - values[1][0]) <= values[0][1] + values[1][1]


@given(text=IRRATIONAL, shift=st.sampled_from(["10^{-9}", r"10^{-40}\pi", "1", r"\frac{1}{3}"]))
def test_a_shifted_value_is_never_equal(text: str, shift: str) -> None:
    tree, shifted = read(text), read(f"({text})+{shift}")
    assert equal_fast(tree, shifted)[0] is not True
    assert equal_precise(tree, shifted)[0] is not True


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"e^{\pi\sqrt{163}}", "262537412640768744"),
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
        (r"10^{-30}", r"10^{-31}"),
        (r"\sqrt{2}", "1.4142135623730951"),
        (r"10^{1000}", r"10^{1000}+1"),
        (r"7^{100000}", r"7^{100001}"),
        (r"10^{10^{10}}", r"10^{10^{10}+1}"),
    ],
)
def test_near_or_huge_numbers_are_told_apart(left: str, right: str) -> None:
    assert equal_precise(read(left), read(right))[0] is False


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt{6}}"),
        (r"\sin(2x)", r"2\sin x\cos x"),
        (r"\binom{n+1}{2}", r"\frac{n(n+1)}{2}"),
        (r"\lfloor\frac{n}{2}\rfloor + \lceil \frac{n}{2}\rceil", "n"),
        (r"\frac{1}{1+\frac{1}{x}}", r"\frac{x}{x+1}"),
        (r"10^{10^{10}}", r"100^{10^{10}/2}"),
        (r"|3-4i|", "5"),
    ],
)
def test_identities_hold(left: str, right: str) -> None:
    assert equal_precise(read(left), read(right))[0] is True
