r"""The signs of an answer that is compared as words, which its words alone lose: "4k - 3" is not "4k + 3".

Example: the signs of `x \to -\infty, x^2 \ne 3.5` are "-^.". Commands such as \to are words of their own; a hyphen
within a word, an apostrophe and a thousands mark are no signs.
"""

import re

# A minus directly before a word of three letters is a hyphen: y-axis, right-handed.
_SIGN = re.compile(
    r"-(?!(?!inf|sin|cos|tan|log|sqrt)[a-zA-Z]{3})|[/*^_=<>|%]"
    r"|(?<=\d)[.:](?=\d)|'(?![a-zA-Z])|(?<=[\d)}])!|(?<=(?<![a-zA-Z])[a-zA-Z])!"
)


def signs(text: str) -> str:
    """Return the signs of a text in order."""
    return "".join(_SIGN.findall(text))
