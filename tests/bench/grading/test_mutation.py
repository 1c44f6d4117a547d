"""Right answers stay right in other spellings; a changed digit, sign or operator is never right."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.records import Gold, Status

INTEGERS = st.integers(-(10**12), 10**12)


def verdict(answer: str, *golds: str) -> Status:
    return grade(rf"So it is \boxed{{{answer}}}.", Gold(golds)).status


def integer_spellings(value: int) -> list[str]:
    sign, size = ("-" if value < 0 else ""), abs(value)
    return [
        f"{value}", f"{sign}00{size}", f"{value}.0", f"{value:,}", f"{value:,}".replace(",", "{,}"),
        f"{value:,}".replace(",", r"\,"), f"${value}$", f"x = {value}", rf"\text{{{value}}}", f"{value}e0",
        rf"{value} \text{{ kg}}", f"{value}".replace("-", "\u2212"), rf"\left({value}\right)",
    ]  # fmt: skip


@given(value=INTEGERS)
def test_spellings_of_an_integer(value: int) -> None:
    assert {text: verdict(text, str(value)) for text in integer_spellings(value)} == dict.fromkeys(
        integer_spellings(value), Status.CORRECT
    )


@given(value=INTEGERS, other=INTEGERS)
def test_another_integer_is_wrong_in_every_spelling(value: int, other: int) -> None:
    assume(value != other)
    assert {verdict(text, str(value)) for text in integer_spellings(other)} == {Status.WRONG}


@given(above=st.integers(-999, 999), below=st.integers(2, 999), change=st.integers(1, 5))
def test_fractions(above: int, below: int, change: int) -> None:
    gold = rf"\frac{{{above}}}{{{below}}}"
    spellings = [f"{above}/{below}", rf"\dfrac{{{2 * above}}}{{{2 * below}}}", rf"-\frac{{{-above}}}{{{below}}}"]
    assert {verdict(text, gold) for text in spellings} == {Status.CORRECT}
    mutants = [f"{above + change}/{below}", rf"\frac{{{above}}}{{{below + change}}}" if above else "1"]
    assert {verdict(text, gold) for text in mutants} == {Status.WRONG}


@given(mantissa=st.integers(1, 9999), exponent=st.integers(-40, 40), change=st.sampled_from([-1, 1]))
def test_scientific_notation(mantissa: int, exponent: int, change: int) -> None:
    digits = f"{mantissa / 1000:.3f}"
    gold = rf"{digits} \times 10^{{{exponent}}}"
    for text in (f"{digits}e{exponent}", rf"{digits}\cdot 10^{{{exponent}}}", f"{digits}*10^{exponent}"):
        assert verdict(text, gold) is Status.CORRECT
    for text in (f"{digits}e{exponent + change}", rf"{mantissa + change}\cdot 10^{{{exponent - 3}}}", digits + "1"):
        if Fraction(mantissa + change) != 0:
            expected = exponent == 0 and text == digits
            assert (verdict(text, gold) is Status.CORRECT) == expected


@given(values=st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), data=st.data())
def test_lists_need_all_and_only_their_members(values: list[int], data: st.DataObject) -> None:
    golds = tuple(map(str, values))
    shuffled = data.draw(st.permutations(values))
    assert verdict(", ".join(map(str, shuffled)), *golds) is Status.CORRECT
    assert verdict(r"\{" + ",".join(map(str, shuffled)) + r"\}", *golds) is Status.CORRECT
    assert verdict(",".join(map(str, shuffled[1:])), *golds) is Status.WRONG
    assert verdict(",".join(map(str, [*shuffled, 1000])), *golds) is Status.WRONG
    assert verdict(",".join(map(str, [*shuffled[1:], 1000])), *golds) is Status.WRONG


@given(values=st.lists(st.integers(-9, 9), min_size=2, max_size=4), data=st.data())
def test_tuples_keep_their_order_and_intervals_their_brackets(values: list[int], data: st.DataObject) -> None:
    def row(items: list[int], opening: str = "(", closing: str = ")") -> str:
        return opening + ", ".join(map(str, items)) + closing

    shuffled = data.draw(st.permutations(values))
    assert (verdict(row(shuffled), row(values)) is Status.CORRECT) == (shuffled == values)
    assert verdict(row(values, "[", ")"), row(values)) is Status.WRONG
    assert verdict(row(values, "[", "]"), row(values, "[", "]")) is Status.CORRECT


@given(coefficients=st.lists(st.integers(-9, 9), min_size=2, max_size=5), index=st.integers(0, 4))
def test_polynomials(coefficients: list[int], index: int) -> None:
    def text(numbers: list[int]) -> str:
        return "+".join(f"({number})x^{{{power}}}" for power, number in enumerate(numbers))

    gold = text(coefficients)
    assert verdict("+".join(reversed(gold.split("+"))), gold) is Status.CORRECT
    mutant = list(coefficients)
    mutant[index % len(mutant)] += 1
    assert verdict(text(mutant), gold) is Status.WRONG


@given(gold=st.decimals(min_value=-100, max_value=100, places=3), off=st.integers(0, 400))
def test_a_tolerance_is_kept_exactly_when_the_gold_has_one(gold: object, off: int) -> None:
    center = Fraction(str(gold))
    answer = f"{float(center + Fraction(off, 1000)):.3f}"
    exact = Gold((str(gold),))
    assert (grade(answer, exact).status is Status.CORRECT) == (off == 0)
    lenient = Gold((str(gold),), abs_tolerance=0.1)
    assert (grade(rf"\boxed{{{answer}}}", lenient).status is Status.CORRECT) == (off <= 100)


@pytest.mark.parametrize(
    ("answer", "unit", "right"),
    [
        (r"4.25\%", "%", True), ("4.25", "%", True), (r"4.35\%", "%", False), ("0.042", "%", True), ("0.1", "%", False),
        (r"10\%", "%", False), (r"4.2 \text{ km}", "%", False), (r"4200 \text{ m}", "km", True),
        (r"4250 \text{ m}", "km", True), (r"4.2 \text{ m}", "km", False), ("4.3", "km", True),
        ("4.2", r"^{\circ}", True),
        (r"42 \text{ dm}^2", "$m^2$", False), (r"420 \text{ dm}^2", "$m^2$", True),
    ],
)  # fmt: skip
def test_units_and_tolerance_of_the_gold_are_on_its_own_scale(answer: str, unit: str, right: bool) -> None:
    gold = Gold(("4.2",), abs_tolerance=0.1, unit=unit)
    assert (grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT) == right
