"""Laws of extraction: the last closed box wins, thoughts never count, nothing earlier replaces an open box."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.grading.find.extract import boxed_content, extract, remove_think

PLAIN = st.text(alphabet="abc 123.,=+-\n$", max_size=60)
CONTENT = st.recursive(
    st.text(alphabet="xyz0123456789+-^ ", min_size=1, max_size=8).filter(lambda text: text.strip()),
    lambda inner: st.builds(r"\frac{{{}}}{{{}}}".format, inner, inner) | st.builds(r"\sqrt{{{}}}".format, inner),
    max_leaves=6,
)


AROUND = st.text(alphabet="abc .,:=\n$", max_size=60)  # no operators: with these a box is a part of its formula


@given(before=AROUND, content=CONTENT, after=AROUND, command=st.sampled_from([r"\boxed", r"\fbox"]))
def test_the_content_of_a_box_comes_out_whatever_words_stand_around_it(
    before: str, content: str, after: str, command: str
) -> None:
    text = f"{before}{command}{{{content}}}{after}"
    for reason in ("stop", "length"):
        found = extract(text, finish_reason=reason)
        assert found.source == "boxed"
        assert found.answer == content.strip()


@given(before=PLAIN, first=CONTENT, content=CONTENT, cut=st.integers(0, 40))
def test_an_open_last_box_is_no_answer(before: str, first: str, content: str, cut: int) -> None:
    open_box = rf"\boxed{{{content}"[: max(7, len(content) - cut)]
    found = extract(rf"{before}\boxed{{{first}}}. So {open_box}")
    assert found.answer is None


@given(thought=st.text(alphabet="abc123 \n", max_size=40), inner=CONTENT, content=CONTENT)
def test_thoughts_never_count_and_what_follows_does(thought: str, inner: str, content: str) -> None:
    for opening in ("<think>", "<THINK>", "<thinking>", ""):
        closing = "</thinking>" if opening == "<thinking>" else "</think>"
        closed = rf"{opening}{thought}\boxed{{{inner}}}{closing}"
        assert extract(closed, strict_boxed=True).answer is None
        assert extract(rf"{closed} \boxed{{{content}}}").answer == content.strip()
    assert extract(rf"<think>{thought}\boxed{{{inner}}}").answer is None


def test_text_before_a_thought_is_kept() -> None:
    assert remove_think("a<think>b</think>c<think>d") == ("ac", True)
    assert remove_think("b</think>c") == ("c", False)


def test_boxes_side_by_side_are_one_list_and_boxes_in_two_sentences_are_not() -> None:
    assert extract(r"$\boxed{2}$, $\boxed{3}$ and $\boxed{5}$").answer == "2, 3, 5"
    assert extract(r"First \boxed{2}. Then \boxed{3}").answer == "3"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed 7", "7"),
        (r"$\boxed7$", "7"),
        (r"\boxed {\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{a\}b}", r"a\}b"),
        (r"\boxed{\boxed{9}}", "9"),
        ("The final answer is $x = \\frac{3}{2}$. I hope it is correct.", r"x = \frac{3}{2}"),
        ("The final answer is 3.5. Then more.", "3.5"),
        ("Answer: 12", "12"),
        ("the first sum is 3\nso in all we find 12 apples", "12"),
        ("we find $a=3$ and\n$$b = 3 + 4 = 7.$$", "7."),
    ],
)
def test_forms(text: str, answer: str) -> None:
    assert extract(text).answer == answer


def test_strict_boxed_switches_everything_else_off() -> None:
    for text in ("The final answer is 7.", "Answer: 7", "#### 7", "so $x=7$", "7"):
        assert extract(text).answer is not None
        assert extract(text, strict_boxed=True).answer is None
        assert extract(text, finish_reason="length").answer is None


def test_boxed_content_is_none_without_a_closed_box() -> None:
    assert boxed_content("no box") is None
    assert boxed_content(r"\boxed{1} and \boxed{2") is None


HOSTILE = {
    "open boxes": r"\boxed{" * 15_000,
    "closed boxes": r"\boxed{1} " * 12_000,
    "braces": r"\boxed{" + "{" * 50_000 + "}" * 50_000 + "}",
    "dollars": "$" * 100_000,
    "formulas": "$a$ " * 25_000,
    "thoughts": "<think>" * 15_000,
    "answers": "answer is " * 10_000,
    "final answers": "final answer is " * 7_000 + "7",
    "hope": "The final answer is " + "I hope" * 16_000,
    "gaps": r"\boxed{1}" + r" \quad" * 16_000 + r"\boxed{2}",
    "spaces": "final answer" + " " * 100_000,
    "words": "word " * 20_000,
    "random": "x1= " * 25_000,
    "suppositions": "suppose the answer is 7. " * 4_000,
    "retractions": "the answer is 7. wait, " * 4_000,
    "denials": "it is not that the answer is " * 3_500,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_in_hostile_text(name: str) -> None:
    """Twice the text may take little more than twice the time; a quadratic scan would take four times."""
    text = HOSTILE[name]
    half = text[: len(text) // 2]
    extract(half)
    started = time.process_time()
    extract(text)
    assert time.process_time() - started < 0.25


def test_answer_tags_count_beside_boxes_where_these_alone_would() -> None:
    assert extract("<answer>7</answer>", strict_boxed=True).answer is None
    assert extract("<answer>7</answer>", strict_boxed=True, answer_tags=True).answer == "7"
    assert extract(r"\boxed{8} <answer>7</answer>", strict_boxed=True, answer_tags=True).answer == "8"
    assert extract("The answer is 7.", strict_boxed=True, answer_tags=True).answer is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"x = -\boxed{7}", "-{7}"),
        (r"So $x = -\boxed{7}$.", "-{7}"),
        (r"$2\cdot\boxed{7}$", r"2\cdot{7}"),
        (r"$\boxed{7}^2$", "{7}^2"),
        (r"$\boxed{5}\text{ or }6$", r"{5}\text{ or }6"),
        (r"$0 < \boxed{204} < 999$", "0 < {204} < 999"),
        (r"\frac{\boxed{203}}{\boxed{204}}", r"\frac{{203}}{{204}}"),
        (r"x \ne \boxed{204}", r"x \ne {204}"),
        (r"$\boxed{x^2}+C$", "{x^2}+C"),
    ],
)
def test_what_changes_the_value_of_a_box_belongs_to_the_answer(text: str, answer: str) -> None:
    assert extract(text).answer == answer


@pytest.mark.parametrize(
    "text",
    [
        r"- \boxed{7}",
        r"1) \boxed{7}",
        r"**\boxed{7}**",
        r"> \boxed{7}",
        r"Answer - \boxed{7}",
        r"\boxed{7} - the only one",
        r"It is \boxed{7}!",
        r"$a + b \ge \boxed{7}$",
        r"=> \boxed{7}",
        r"| Answer | \boxed{7} |",
        r"$\color{blue}{\boxed{7}}$",
        r"<answer>\boxed{7}</answer>",
        r"\[ 3 + 4 = \boxed{7} \]",
        "3 + 4 = \\boxed{7}\n\n- done",
    ],
)
def test_marks_of_a_text_around_a_box_are_no_part_of_the_answer(text: str) -> None:
    assert extract(text).answer == "7"
