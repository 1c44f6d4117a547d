r"""What follows a function and says only which numbers it is about.

    f(x) = 2x \text{ for all } x \in \mathbb{R}     f(x) = 2x

A condition that narrows, `x > 1`, is not such a remark and stays; `provisos` reads what is said of other letters.
"""

import re

_FUNCTION = re.compile(r"[a-zA-Z](?:_\{?\w\}?)?\s*\(([a-z](?:\s*,\s*[a-z])*)\)\s*=(?!.*(?:[=<]|(?<!_\{)>))")
_TAIL = re.compile(
    r"[\s,;(]*(?:\\(?:text|mathrm|textrm|mbox)\s*\{[\s,(]*)?"
    r"(?:(?<![a-zA-Z])(?:for|where|with)(?![a-zA-Z])|\\forall(?![a-zA-Z])|(?<![\\\w^_{])[a-z]\s*\\in(?![a-zA-Z]))"
)
_WRAPPING = re.compile(r"\\(?:text|mathrm|textrm|mbox|mathbb|mathbf)(?![a-zA-Z])|[{}()$,.;\\]")
_WHOLE_SET = re.compile(r"\\mathbb\s*\{?\s*([RZNQC])\s*\}?(?:\s*[\^_]\s*\{?\s*(?:\+|>0)\s*\}?)?")
_NUMBERS = frozenset(
    ["real", "reals", "integer", "integers", "number", "numbers", "rational", "rationals", "natural", "naturals"]
)
_OF_ARGUMENTS = _NUMBERS | {*("for", "all", "every", "each", "any", "in", "forall"), *("positive", "nonnegative")}


def without_domain(text: str) -> str:
    """Return a function without what is said of its argument's domain."""
    head = _FUNCTION.match(text)
    tail = _TAIL.search(text, head.end()) if head else None
    if head is None or tail is None or not text[head.end() : tail.start()].strip():
        return text
    arguments = {letter.strip() for letter in head[1].split(",")}
    said = set(_WRAPPING.sub(" ", _WHOLE_SET.sub(r" set\1 ", text[tail.start() :])).split())
    sets, letters = {word for word in said if word.startswith("set")}, {word for word in said if len(word) == 1}
    words = said - sets - letters
    if letters and letters <= arguments and words <= _OF_ARGUMENTS:
        return text[: tail.start()].rstrip()
    return text
