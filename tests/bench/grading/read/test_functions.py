"""Laws of functions: every spelling of a name is one function, and no word or letter becomes one by accident."""

from fractions import Fraction
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading.numbers.exact import exact
from tbrm_bench.grading.numbers.numeric import equal_precise
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree
from tbrm_bench.grading.read.vocabulary import BRACKETED, FUNCTIONS, OF_SEVERAL

ONE_ARGUMENT = sorted(
    name for name in FUNCTIONS if FUNCTIONS[name] not in OF_SEVERAL | {"binom", "det"} and name not in BRACKETED
)


def read(text: str) -> Tree:
    return readings(clean(text))[0]


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_every_spelling_of_a_name_is_the_same_function(name: str) -> None:
    forms = [
        rf"\{name} x",
        rf"\operatorname{{{name}}}(x)",
        rf"\mathrm{{{name}}}\,x",
        rf"\text{{{name}}}(x)",
        f"{name}(x)",
    ]
    assert len({read(form) for form in forms}) == 1
    assert readings(rf"{name}(x, y)") == ()


@pytest.mark.parametrize("text", ["2ath", "ash", "Re", r"2\Gamma t", r"\sin\Gamma", "arg", "chx"])
def test_letters_that_make_a_name_are_letters_without_brackets(text: str) -> None:
    assert not {"re", "arg", "fact", "arcsinh", "arctanh", "cosh"} & {
        part[1] for part in read(text) if isinstance(part, tuple) and part[0] == "f"
    }


@pytest.mark.parametrize(
    ("inverse", "direct"),
    [
        *(("arcsinh", "sinh"), ("arctanh", "tanh"), ("arccoth", "coth"), ("arccsch", "csch")),
        *(("arcsin", "sin"), ("arctan", "tan"), ("arccot", "cot"), ("arccsc", "csc")),
    ],
)
@given(above=st.integers(1, 40))
def test_a_function_undoes_its_inverse(inverse: str, direct: str, above: int) -> None:
    value = f"\\frac{{{above}}}{{41}}" if inverse not in ("arccoth", "arccsc") else f"\\frac{{{above + 41}}}{{41}}"
    for spelling in (rf"\operatorname{{{inverse}}}", rf"\operatorname{{{direct}}}^{{-1}}"):
        undone = read(rf"\operatorname{{{direct}}}\left({spelling}\left({value}\right)\right)")
        assert equal_precise(undone, read(value))[0] is True


@given(number=st.integers(0, 60))
def test_two_factorial_signs_take_every_second_number(number: int) -> None:
    assert exact(read(f"{number}!!")) == prod(range(number, 0, -2))
    if 2 < number < 6:
        assert exact(read(f"({number}!)!")) != exact(read(f"{number}!!"))


@given(rows=st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_a_determinant_has_its_value(rows: list[list[int]]) -> None:
    (a, b, c), (d, e, f), (g, h, i) = rows
    body = r"\\".join("&".join(map(str, row)) for row in rows)
    expected = Fraction(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
    assert exact(read(rf"\begin{{vmatrix}}{body}\end{{vmatrix}}")) == expected
    assert exact(read(rf"\det\begin{{pmatrix}}{body}\end{{pmatrix}}")) == expected


@pytest.mark.parametrize("upright", [r"\mathrm{e}", r"\text{e}", r"\operatorname{e}", r"{\rm e}", r"\mathbf{e}"])
@pytest.mark.parametrize("form", ["{}^{{2}}", "3{}^{{-x}}", r"\frac{{{}^2-1}}{{2}}", "{}"])
def test_an_upright_e_is_the_number(upright: str, form: str) -> None:
    assert read(form.format(upright)) == read(form.format("e"))
