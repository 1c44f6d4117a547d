"""What a second reader may be asked: whole constructs, with nothing around them that is not read here."""

import pytest

from tbrm_bench.grading import grade
from tbrm_bench.grading.read.constructs import is_read_in_full
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.records import Status

WHOLE = [
    r"\sum_{k=1}^{3} k", r"\sum_{k=1}^{3}k=6", r"\int_0^1 6\,dx", r"\lim_{x\to 6}x", r"\prod_{k=1}^n k+1",
    r"\int_{0}^{\infty} e^{-x}\mathrm{d}x",
]  # fmt: skip
HALF = [
    r"\sum\ne 7", r"\sum 7", r"\int 7", r"\lim 7", r"\prod_{k}7", r"\sum_{k=1}^{3}", r"\sum_{k=1}^{3}\ne 6",
    r"\int_0^1 6\,dx\text{ dozen}", r"\sum_{k=1}^{3}k\text{ or }7", r"6,\ \sum_{k=1}^{2}k",
    r"\text{not }\sum_{k=1}^{3}k",
    r"\sum_{k=1}^{3}k<7", "All primes p > 3",
]  # fmt: skip


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_construct_is_read_in_full(text: str) -> None:
    assert is_read_in_full(clean(text))


@pytest.mark.parametrize("text", HALF)
def test_half_of_one_is_not(text: str) -> None:
    assert not is_read_in_full(clean(text))
    for gold in ("6", "7"):
        assert grade(rf"\boxed{{{text}}}", gold).status is Status.WRONG
