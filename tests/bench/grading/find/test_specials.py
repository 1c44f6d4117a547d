"""Special tokens of chat templates at the end of a text or of a box are no part of an answer."""

import time

from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading import grade
from tbrm_bench.grading.find.specials import without_specials
from tbrm_bench.records import Status

TOKENS = st.sampled_from(
    [
        *(
            "<|im_end|>",
            "<|endoftext|>",
            "<|eot_id|>",
            "</s>",
            "<eos>",
            "<end_of_turn>",
            "<|end|>",
            "<|return|>",
            "<pad>",
        ),
        *("<\uff5cend\u2581of\u2581sentence\uff5c>", "[EOS]", "<|end_of_text|>", "\n", " "),
    ]
)
TEXTS = ["42", "$42$", r"\boxed{42}", "The answer is 42.", "The final answer is $42$. I hope it is correct.", "#### 42"]


@given(st.sampled_from(TEXTS), st.lists(TOKENS, max_size=6))
def test_they_change_no_verdict(text: str, tokens: list[str]) -> None:
    ended = text + "".join(tokens)
    assert grade(ended, "42").status is Status.CORRECT
    assert grade(ended, "43").status is Status.WRONG


@given(st.lists(TOKENS, max_size=4))
def test_nor_at_the_end_of_a_box(tokens: list[str]) -> None:
    assert grade(rf"\boxed{{42{''.join(tokens)}}}", "42").status is Status.CORRECT


def test_what_is_no_token_stays() -> None:
    for text in ("a<|b|>c", "x<y", "|x|>3", "(1,2]", "[0,1]", "a<b>"):
        assert without_specials(text) == text


def test_a_long_row_of_them_costs_no_time() -> None:
    start = time.process_time()
    for text in ("<|im_end|>" * 50_000, "<|im_end|" * 50_000 + ">", "[" * 100_000 + "]", " " * 100_000 + "</s>"):
        without_specials(text)
    assert time.process_time() - start < 1
