"""The door for foreign text: what acts unseen is shown, what people write passes, nothing is markup."""

import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.foreign import for_html, for_markdown, for_terminal

ANY = st.text(st.characters(codec=None, categories=None))
ORDINARY = [
    "Qwen2.5-Math é ñ ß",
    "数学　モデル",
    "модель αβγ ∑∫√ ≤ ± →",
    "👨‍👩‍👧 👍🏽 ❤️ 🏳️‍🌈",
    "العربية עברית हिन्दी 한국어",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_what_people_write_passes(text: str) -> None:
    assert for_terminal(text) == for_html(text) == text


@given(ANY)
def test_nothing_unseen_is_left_and_nothing_is_lost(text: str) -> None:
    shown = for_terminal(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [c for c in shown.replace("\u200d", "") if unicodedata.category(c) == "Cf"]
    assert for_terminal(shown) == shown
    assert len(shown) >= len(text)
    assert for_terminal(text, ascii_only=True).isascii()


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        *[("\x1b", r"\x1b"), ("\x07", r"\x07"), ("\x9b", r"\x9b"), ("\r", r"\r"), ("\n", r"\n"), ("\x7f", r"\x7f")],
        *[("\u202e", r"\u202e"), ("\u2066", r"\u2066"), ("\u200b", r"\u200b"), ("\u200d", r"\u200d")],
        *[("\u2028", r"\u2028"), ("\udcff", r"\udcff"), ("\u3164", r"\u3164"), ("\U000e0041", r"\U000e0041")],
    ],
)
def test_an_escape_stands_for_it(char: str, shown: str) -> None:
    assert for_terminal(f"a{char}b") == f"a{shown}b"


@given(ANY)
def test_pages_show_the_text_literally(text: str) -> None:
    line = for_markdown(text)
    assert not set(line) & set("<>[]`*_|\\#!~&{}$\n") - set("&#")
    assert html.unescape(line) == for_terminal(" ".join(text.split()))
    assert not set(for_html(text)) & set("<>\"'")


@pytest.mark.parametrize("start", ["- a", "+ a", "1. a", "23) a", "---", "=== a", "> a", "# a"])
def test_a_line_starts_no_list_rule_or_heading(start: str) -> None:
    assert for_markdown(start).startswith("&#")


def test_an_address_is_no_link() -> None:
    assert "://" not in for_markdown("see https://evil.example")
    assert "www." not in for_markdown("see www.evil.example")
