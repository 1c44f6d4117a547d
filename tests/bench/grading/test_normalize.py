"""Golds as datasets store them, to the answers that the grader reads; on invented rows and on the real ones."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tbrm_bench.errors import UserError
from tbrm_bench.grading import normalize_gold


@pytest.mark.parametrize(
    ("raw", "rule", "answers"),
    [
        ("073", "integer", ("73",)),
        ("000", "integer", ("0",)),
        (61.0, "integer", ("61",)),
        ("-4.0", "integer", ("-4",)),
        (12, "integer", ("12",)),
        (r"\frac{3}{8}", "latex", (r"\frac{3}{8}",)),
        (r"$\frac{3}{8}$", "latex", (r"\frac{3}{8}",)),
        ("4, 9, 2", "latex", ("4", "9", "2")),
        (r"20,\!160", "latex", ("20160",)),
        ("71,300", "latex", ("71300",)),
        (r"\$6,\!400", "latex", (r"\$6400",)),
        ("(2,7)", "latex", ("(2,7)",)),
        ("$1,234", "latex", ("$1234",)),
        ([2.0, None, float("nan"), Decimal("3.00")], "latex", ("2", "3")),
        ("7 + 7 = 14, so\n#### 1,014", "gsm8k", ("1014",)),
        ("3.1e12", "minerva", (r"3.1 \times 10^{12}",)),
        ("2e-9", "minerva", (r"2 \times 10^{-9}",)),
        ("-2./7", "minerva", (r"-\frac{2}{7}",)),
        ("np.arccos(3/8)", "minerva", (r"\arccos(3/8)",)),
        (r"\exp{-b*t}", "minerva", (r"e^{-b t}",)),
        (r"A \cos (t)+$ $B \sin (t)", "minerva", (r"A \cos (t)+ B \sin (t)",)),
        (r"so \boxed{81} \%", "minerva", ("81",)),
        ("+5", "minerva", ("5",)),
        (["$3$,$-4$"], "olympiad_list", ("3", "-4")),
        (["$112,$6$"], "olympiad_list", ("112", "6")),
        (["$(-\\infty, 2) \\cup\\{5\\}$."], "olympiad_list", (r"(-\infty, 2) \cup\{5\}",)),
        (["$t(1,6]$"], "olympiad_list", ("(1,6]",)),
        (["$(1,2), (3,4)$"], "olympiad_list", ("(1,2)", "(3,4)")),
        (["1200,3400"], "olympiad_list", ("1200", "3400")),
        (["$f(x)=k x$, where $k$ is any integer"], "olympiad_list", ("f(x)=k x",)),
        (["$x=\\frac{1}{7} \\pi, \\frac{2}{7} \\pi$"], "olympiad_list", (r"\frac{1}{7} \pi", r"\frac{2}{7} \pi")),
        (["$a=2$, $a=3$"], "olympiad_list", ("a=2", "a=3")),
    ],
)
def test_rules(raw: object, rule: str, answers: tuple[str, ...]) -> None:
    assert normalize_gold(raw, rule) == answers


@pytest.mark.parametrize(("raw", "rule"), [("3", "integer"), (r"\frac{1}{2}", "latex"), (["1,2"], "olympiad_list")])
def test_normalising_twice_changes_nothing(raw: object, rule: str) -> None:
    once = normalize_gold(raw, rule)
    assert normalize_gold(",".join(once), rule) == once


def test_a_misspelt_rule_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'minerva'"):
        normalize_gold("3", "minerba")


@pytest.mark.parametrize(
    ("raw", "rule"), [("2.5", "integer"), ("x", "integer"), ("", "latex"), (r"\boxed{", "minerva")]
)
def test_what_a_rule_cannot_read_is_an_error(raw: str, rule: str) -> None:
    with pytest.raises(UserError):
        normalize_gold(raw, rule)


def test_real_olympiad_lists_have_several_answers_where_the_dataset_says_so(real_data: Path) -> None:
    rows = [json.loads(line) for line in (real_data / "olympiadbench.jsonl").read_text(encoding="utf-8").splitlines()]
    single = [
        row["id"]
        for row in rows
        if row["is_multiple_answer"] and len(normalize_gold(row["final_answer"], "olympiad_list")) == 1
    ]
    # Marked as several and giving one: two points, and a formula with its "where".
    assert single == [1965, 2469, 2639]
