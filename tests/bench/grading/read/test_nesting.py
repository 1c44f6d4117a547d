"""Two forms nested in turn, forty deep, beside a gold of every shape: a fast verdict stays fast.

A rule that looks at a part twice takes 2^depth steps; so does one that does it only where two forms alternate.
"""

import itertools
import random
import time

import pytest

from tbrm_bench.grading.equal.equivalence import decide_fast
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.records import Gold

FORMS = [
    "{}/d", "{}/3", "-{}", "{}d", "{} 2", "({})", r"\frac{{{}}}{{d}}", r"\frac{{1}}{{{}}}", "{}^T", "{{{}}}^2",
    "2^{{{}}}", r"\sqrt{{{}}}", "|{}|", "({},1)", "[{},1]", r"\{{{},1\}}", r"{}\cup(1,2)", "{}=1", "x={}", r"{}\pm 1",
    r"\pm {}", "{}!", r"\binom{{{}}}{{1}}", "f({})", r"\sin({})", r"\log {}", "{}<x", r"{}\text{{ cm}}", r"{}\%",
    "{}+1", "{}-x", r"\lfloor {} \rfloor", "{}_2", r"\begin{{pmatrix}}{}&1\end{{pmatrix}}", r"{} \text{{ or }} 1",
    r"\text{{{}}}", r"{}^\circ", "10^{{{}}}", r"{}\cdot 10^3", r"\int {}", "e^{{i{}}}",
]  # fmt: skip
GOLDS = [
    "7", r"\frac{3}{4}", r"2\sqrt{3}", "x^2+1", "y=2x-5", "(1,2)", "[1,3)", r"\{1,2\}",
    r"\begin{pmatrix}2&-1\\0&5\end{pmatrix}", r"5\text{ cm}", r"35\%", "3-4i", "65_8", r"\text{east}", r"x\pm 1",
    "4.5e33", r"(-\infty,1)\cup(2,3)", "x<5", r"70^\circ", r"\$5", "C",
]  # fmt: skip
LIMIT_S = 2.0  # of processor time; the slowest takes a tenth of it


def nested(forms: tuple[str, str], start: str, depth: int) -> str:
    text = start
    for level in range(depth):
        text = forms[level % 2].format(text)
    return text


@pytest.mark.parametrize("start", ["x", "3"])
def test_no_pair_of_nested_forms_takes_long(start: str) -> None:
    chosen = random.Random(0)
    for forms in itertools.product(FORMS, FORMS):
        for depth in (18, 38):
            text = nested(forms, start, depth)
            if len(text) <= MAX_ANSWER_CHARS:
                for gold in [GOLDS[8], *chosen.sample(GOLDS, 2)]:
                    begun = time.process_time()
                    decide_fast(text, Gold((gold,)))
                    assert time.process_time() - begun < LIMIT_S, (text, gold)
