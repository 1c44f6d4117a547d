r"""Foreign text on its way to a terminal or a page: names, titles, answers, cells and messages that others wrote.

    for_terminal("step\x1b[2J")    step\x1b[2J, in letters: nothing steers the terminal
    for_markdown("a|b <i>")        a&#124;b &#60;i&#62;: nothing is markup
    for_html("a<b")                a&lt;b

Characters that act and are not seen (controls, bidirectional overrides, zero widths, separators of lines, lone
surrogates) are shown as the escapes of Python. Letters of all scripts, accents, emoji and signs of maths pass.
"""

import html
import re
import unicodedata

HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))  # controls, formats, surrogates, separators
# Invisible, though to Unicode they are letters, marks or not yet assigned.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
# What the project draws its own tables with, for a terminal without Unicode.
ASCII_SPELLINGS = {"±": "+-", "–": "-", "·": "|"}  # noqa: RUF001
# What Markdown could read as more than a letter: signs, the start of a list or rule, the start of a link.
MARKDOWN = re.compile(r"[^\w ,.:;=@/+()'-]|_|^[-+=]|^\d(?=\d{0,8}[.)](?: |$))|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)


def for_terminal(text: object, *, ascii_only: bool = False, keep: str = "") -> str:
    """Return a text of which every character is seen, on one line; what is in `keep` ("\\n") passes as it is."""
    shown = str(text)
    if shown.isprintable() and (shown.isascii() or (not ascii_only and not INVISIBLE.search(shown))):
        return shown
    return "".join(
        _seen(char, ascii_only=ascii_only) if char not in keep and not _joins_emoji(shown, index, ascii_only) else char
        for index, char in enumerate(shown)
    )


def for_markdown(text: object) -> str:
    """Return a text that Markdown and HTML show literally, on one line: what could be markup is an entity."""
    line = for_terminal(" ".join(str(text).split()))
    return MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", line)


def for_html(text: object, *, keep: str = "") -> str:
    """Return a text for HTML or SVG, also within the quotes of an attribute."""
    return html.escape(for_terminal(text, keep=keep))


def _seen(char: str, *, ascii_only: bool) -> str:
    if ascii_only and char in ASCII_SPELLINGS:
        return ASCII_SPELLINGS[char]
    if unicodedata.category(char) in HIDDEN or INVISIBLE.match(char) or (ascii_only and not char.isascii()):
        return char.encode("unicode_escape").decode("ascii")
    return char


def _joins_emoji(text: str, index: int, ascii_only: bool) -> bool:
    """Whether this is the joiner within one emoji, such as a family's."""
    if text[index] != "\u200d" or ascii_only or not 0 < index < len(text) - 1:
        return False
    # The emoji itself, its tone of skin, or the selector of its coloured form.
    before = unicodedata.category(text[index - 1]) in ("So", "Sk") or text[index - 1] == "\ufe0f"
    return before and unicodedata.category(text[index + 1]) == "So"
