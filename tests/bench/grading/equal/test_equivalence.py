"""A law of tolerance: how a number is spelled does not change whether it is near enough."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading.equal.equivalence import decide_fast
from tbrm_bench.records import Gold


@given(gold=st.integers(-(10**6), 10**6), off=st.integers(-(10**5), 10**5), relative=st.sampled_from([0.0, 0.01, 0.05]))
def test_an_integer_and_a_decimal_have_the_same_tolerance(gold: int, off: int, relative: float) -> None:
    wanted = Gold((str(gold),), rel_tolerance=relative)
    near = abs(off) <= Fraction(str(relative)) * abs(gold)
    for spelling in (f"{gold + off}", f"{gold + off}.0", rf"\frac{{{2 * (gold + off)}}}{{2}}"):
        verdict = decide_fast(spelling, wanted)
        assert isinstance(verdict, tuple)
        assert verdict[0] == near
