"""The reasons of a verdict: what was found, how both sides were read, and that they tell what `grade` decides."""

import pytest

from tbrm_bench.grading import explain, grade
from tbrm_bench.grading.read.readable import readable


def test_explanations_tell_what_grade_decides() -> None:
    cases = [
        (r"\boxed{\frac{2}{4}}", "0.5"),
        ("I cannot say.", "3"),
        (r"\boxed{\sqrt{12}}", r"2\sqrt3"),
        (r"\boxed{3", "3"),
        (r"\boxed{5 \text{ cm}}", r"5 \text{ m}"),
        (r"\boxed{__import__('os')}", "3"),
        ("\0" * 50, "3"),
    ]
    for prediction, gold in cases:
        found = explain(prediction, gold)
        assert found.grade == grade(prediction, gold)
        assert str(found.grade.status) in found.steps[-1]
        if found.grade.extracted is not None:
            assert f"'{found.grade.rule}'" in str(found)
    assert explain(*cases[0]).steps[0] == r"found     \frac{2}{4}, in the last box"
    assert explain(*cases[2]).steps[3].endswith("in a worker")
    assert (explain(*cases[4]).answer_form, explain(*cases[4]).gold_form) == ("5 {1/100 length}", "5 {length}")


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (r"2\sqrt{3}+x^2-\sin(2x)", "2*sqrt(3) + x^2 - sin(2*x)"),
        (r"a-(b-c)", "a - (b - c)"),
        (r"(-\infty,0)\cup(0,\frac{1}{2}]", "(-inf, 0) U (0, 1/2]"),
        (r"\begin{pmatrix}1&2\\3&-4\end{pmatrix}", "[1 2; 3 (-4)]"),
        (r"(2^3)^4", "(2^3)^4"),
        (r"2^{3^4}", "2^(3^4)"),
        (r"\frac{a+b}{2c}", "(a + b)/(2*c)"),
        (r"1<x\le 2", "1 < x <= 2"),
        ("1,234", "1234 or 1, 234"),
        (r"35\%", "35%"),
        (r"65_8", "65 in base 8"),
        (r"3\pm\sqrt2", "3 ± sqrt(2)"),
        (r"\text{east}", '"east"'),
    ],
)
def test_forms_are_read_as_a_person_would(answer: str, form: str) -> None:
    assert explain(answer, "1").answer_form == form


def test_every_shape_has_a_form_and_no_form_is_endless() -> None:
    """A shape of a later reader is shown by its name; numbers and forms are cut."""
    assert readable(("later", ("s", "x"), 3)) == "later(x, 3)"
    assert len(explain("9" * 900, "1").answer_form) < 100
    assert len(explain("+".join(f"x^{{{n}}}" for n in range(150)), "1").answer_form) <= 500


def test_what_a_model_writes_cannot_harm_a_terminal() -> None:
    """Lone surrogates could not be printed at all, and escape sequences would be obeyed."""
    told = str(explain("\\boxed{\\text{\ud800\x1b[2J\0 π}}", "π"))
    told.encode()
    assert all(char.isprintable() or char == "\n" for char in told)
    assert "π" in told
