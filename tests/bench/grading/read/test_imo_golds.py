"""The gold rule `imo`: formulas with words around them become one formula, or a list where they are one."""

import pytest

from tbrm_bench.grading import normalize_gold


@pytest.mark.parametrize(
    ("raw", "answers"),
    [
        ("odd $n$", (r"\text{odd } n",)),
        ("$h(x)=x, h(x)=-x$", ("h(x)=x", "h(x)=-x")),
        ("$2^a$ for some $a>0$", (r"2^a \text{ for some } a>0",)),
        ("$P(x)=ax, Q(x)=x$, where $a\\ne 5$", ("P(x)=ax", r"Q(x)=x, \text{ where } a\ne 5")),
        (
            "0 if $n=1$, otherwise $n^2$",
            (r"\begin{cases} 0 & \text{if } n=1 \\ n^2 & \text{otherwise} \end{cases}",),
        ),
        (
            "$a^2$ ( $a \\ge 3$)\n1 ($a=2$)",
            (r"\begin{cases} a^2 & \text{if } a \ge 3 \\ 1 & \text{if } a=2 \end{cases}",),
        ),
        ("No positive integers", (r"\text{no solutions}",)),
        ("All primes, 1, and 9.", (r"\text{All primes}", "1", "9")),
        ("all multiples of 6, excluding 0", (r"\text{all multiples of } 6, \text{ excluding } 0",)),
        ("$1,2,\\ldots, 40$", (r"1,2,\ldots, 40",)),
        ("$(7,2)$.", ("(7,2)",)),
        ("1/2, 3", ("1/2", "3")),
        (17, ("17",)),
    ],
)
def test_a_gold_becomes_its_answers(raw: object, answers: tuple[str, ...]) -> None:
    assert normalize_gold(raw, "imo") == answers
