r"""An approximation is one answer: one side is the gold, and the others are what it rounds to.

A row of candidates joined by \approx, or by any other sign, is right for one gold at most: else naming every value
would buy a reward.
"""

import itertools

import pytest

from tbrm_bench.grading import grade, grade_many
from tbrm_bench.grading.read.vocabulary import JOINT_COMMANDS, RELATIONS, SET_OPERATIONS
from tbrm_bench.records import Gold, Status

RIGHT = [
    (r"\frac{1}{3}", r"\frac{1}{3} \approx 0.333"),
    (r"\frac{1}{3}", r"0.333 \approx \frac{1}{3}"),
    (r"\frac{1}{3}", r"\frac13 = 0.\overline{3} \approx 0.33"),
    (r"-\frac{1}{3}", r"-\frac13 \approx -0.33"),
    (r"\pi", r"\pi \approx 3.14 \approx 3.1"),
    (r"2\sqrt{2}", r"x = 2\sqrt{2} \approx 2.83"),
    (r"2\sqrt{2}", r"\sqrt{8} \simeq 2.8284"),
    ("2.83", r"2\sqrt{2} \approx 2.83"),
    ("12", r"12 \approx 12.0"),
    ("12", r"\sqrt{144} \approx 12"),
    ("4812", r"4812 \approx 4.8 \times 10^3"),
    ("59999999", r"6e7 \approx 59999999"),
    (r"5 \text{ m}", r"5 \text{ m} \approx 16.4 \text{ ft}"),
    (r"\frac{7}{15}", r"\frac{7}{15} \approx 0.467 \approx 46.7\%"),
    (r"\frac{\pi}{3}", r"\frac{\pi}{3} \approx 60^\circ"),
    (r"60^\circ", r"\frac{\pi}{3} \approx 1.047 \approx 60^\circ"),
    (r"(\frac{1}{3}, 2)", r"(\frac13, 2) \approx (0.333, 2)"),
    (r"\frac{1}{2}", r"\int_0^1 x\,dx \approx 0.5"),
    (r"\frac{1}{3}", r"\frac13 \approx 0.333 \text{ (to 3 s.f.)}"),
    (r"\arctan\frac{3}{4}", r"\arctan\frac34 \approx 0.6435 \approx 36.87^\circ"),
    (r"36.87^\circ", r"\arctan(3/4) \approx 36.87^\circ"),
    ("36.87", r"\arctan(3/4) \approx 36.87^\circ"),  # the question names the unit
    ("60", r"\frac{\pi}{3} \approx 60^\circ"),
    ("35", r"\frac{7}{20} \approx 35\%"),
    ("33.3", r"\frac13 \approx 33.3\%"),
    (r"\frac{1}{3}", r"\frac13 \approx 33.3\% \text{ of the class}"),
    ("5", r"5 \text{ m} \approx 16.4 \text{ ft}"),
    ("2.83", r"2.83 \text{ (to 2 decimal places)}"),
    ("5", r"5 \text{ (mod 7)}"),
    ("5", r"5 \text{ students out of 30}"),
    ("5", r"5 \text{ days (120 hours)}"),
]
WRONG = [
    ("5", r"5 \approx 7"),
    ("7", r"5 \approx 7"),
    ("5", r"x \approx 5 = 7"),
    ("5", r"x = 5 \approx 7 = 5"),
    (r"\frac{1}{3}", r"\frac13 \approx 0.34"),
    (r"\frac{1}{3}", r"\frac13 \approx 0.330"),
    (r"-\frac{1}{3}", r"-\frac13 \approx 0.33"),
    ("3.14", r"3.14159 \approx 3.14"),
    ("4", r"3.7 \approx 4"),
    ("3", r"\frac{22}{7} \approx 3"),
    (r"\pi", r"\pi \approx \frac{22}{7}"),
    ("4812", r"4812 \approx 4800"),
    (r"4.8 \times 10^3", r"4.8 \times 10^3 \approx 4812"),
    ("101", r"100 \cdot 0.1 + 91 \approx 100 \cdot 0.1 + 92"),  # its last digit could be stretched over both
    (r"5 \text{ m}", r"5 \text{ m} \approx 17 \text{ ft}"),
    (r"\frac{\pi}{3}", r"60^\circ \approx 61^\circ"),
    ("(1, 2)", r"(1, 2) \approx (3, 4)"),
    (r"\frac{1}{2}", r"1 \approx 2 \approx \int_0^1 x\,dx"),
    (r"\frac{1}{2}", r"\int_0^1 x\,dx \approx \int_0^2 x\,dx"),
    ("5", r"5 = 6 = \int_0^1 5\,dx"),
    ("5", r"5 \text{ or 6}"),
    ("5", r"5 \text{ (or 6, or 7)}"),
    ("5", r"5 \text{, 6}"),
    ("5", r"5 \text{ (6)}"),
    ("5", r"5 \text{ cm or maybe 6 cm}"),
    ("0.35", r"35\% \approx 0.0035"),
    (r"\arctan\frac{3}{4}", r"\arctan\frac34 \approx 36.9^\circ \approx 37.2^\circ"),
    ("500", r"5 \text{ m} \approx 500 \text{ cm}"),  # 5 is what this is right for
    (r"\text{even}", r"odd$$even"),
]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_an_approximation_of_the_gold_is_right(gold: str, answer: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_a_side_that_is_no_rounding_of_the_gold_makes_it_wrong(gold: str, answer: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold).status is Status.WRONG


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (r"\frac{17}{4} \approx 4.25 \approx 4.3", Status.CORRECT),
        (r"4.25 \approx 4", Status.CORRECT),
        (r"4.2 \approx 5", Status.WRONG),
        (r"4.4 \approx 4", Status.WRONG),
    ],
)
def test_a_tolerance_is_for_every_side(answer: str, status: Status) -> None:
    assert grade(rf"\boxed{{{answer}}}", Gold(("4.2",), abs_tolerance=0.1)).status is status


def test_a_row_of_integers_buys_nothing() -> None:
    row = r" \approx ".join(map(str, range(1, 181)))
    answer = rf"\boxed{{{row}}}"
    assert {found.status for found in grade_many((answer, str(gold)) for gold in range(1, 181))} == {Status.WRONG}


CANDIDATES = {
    "integers": ["5", "7", "12"],
    "decimals": ["2.5", "3.75", "0.5"],
    "fractions": [r"\frac{1}{3}", r"\frac{2}{5}", r"\frac{7}{4}"],
    "roots": [r"2\sqrt{3}", r"\sqrt{5}", r"\pi"],
    "quantities": [r"5\text{ cm}", r"7\text{ cm}", r"9\text{ cm}"],
    "percent": [r"5\%", r"35\%", r"70\%"],
    "degrees": [r"30^\circ", r"60^\circ", r"75^\circ"],
    "points": ["(1,2)", "(3,4)", "(0,5)"],
    "powers of ten": [r"3\times 10^4", r"2.5\times 10^{-3}", "6e7"],
    "one value at several digits": ["2.346", "2.35", "2.3", "2"],
}
SIGNS = [rf"\{name} " if name.isalpha() else name for name in (*RELATIONS, *SET_OPERATIONS, *JOINT_COMMANDS)]
SIGNS += [r"\cong ", r"\doteq ", r"\to ", r"\Rightarrow ", r"\iff ", ", ", "; ", r"\text{ or }", r"\text{ about }", "≈"]


@pytest.mark.parametrize("kind", CANDIDATES)
def test_no_sign_makes_an_answer_right_for_two_golds(kind: str) -> None:
    golds = CANDIDATES[kind]
    rows = [rf"\boxed{{{sign.join(order)}}}" for sign in SIGNS for order in itertools.permutations(golds, 2)]
    rows += [rf"\boxed{{x \approx {sign.join(golds)}}}" for sign in SIGNS]
    found = list(grade_many((row, gold) for row in rows for gold in golds))
    for index, row in enumerate(rows):
        mine = found[index * len(golds) : (index + 1) * len(golds)]
        bought = [gold for gold, verdict in zip(golds, mine, strict=True) if verdict.status is Status.CORRECT]
        assert len(bought) <= 1, (row, bought)
