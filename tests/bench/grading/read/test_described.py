"""Descriptions of sets of whole numbers are read whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading.equal.membership import same_members
from tbrm_bench.grading.read.described import described


@pytest.mark.parametrize(
    "text",
    [
        r"n \text{ is not prime}",
        r"\text{no odd numbers}",
        r"\text{odd functions}",
        "2^{k+1}",
        "n",
        "k + 1",
        "(1, 2, \\ldots)",
        r"\text{positive integer powers of } 2",
        "7 odd",
        "1, 2, 4, 9, \\ldots",
        r"n \equiv 1 \pmod{1}",
        "odd n " * 51,
        "9" * 400,
    ],
)
def test_what_is_not_understood_to_its_last_word_is_no_description(text: str) -> None:
    assert described(text) is None


@given(st.text(alphabet="nkp0123 =,+-^<>\\{}()|.oddevnprimpowsf", max_size=60))
def test_any_text_is_a_description_or_none(text: str) -> None:
    found = described(text)
    assert found is None or found.parts


SPELLINGS = (
    r"n \equiv {r} \pmod{{{m}}}",
    r"n = {m}k + {r},\ k \in \mathbb{{Z}}",
    r"\text{{all integers congruent to }} {r} \text{{ modulo }} {m}",
    r"\{{ {m}t + {r} : t \in \mathbb{{Z}} \}}",
    r"\text{{all integers of the form }} {m}k + {r}",
)


@given(
    st.integers(2, 40), st.integers(1, 39), st.integers(1, 39), st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS)
)
def test_a_residue_class_is_one_set_in_every_spelling_and_no_other(
    m: int, r: int, s: int, one: str, other: str
) -> None:
    left, right = described(one.format(m=m, r=r % m)), described(other.format(m=m, r=s % m))
    assert left is not None
    assert right is not None
    assert same_members(left, right) is (r % m == s % m)
