"""Special tokens of chat templates that a decoder left at the end of a text: no part of any answer.

Examples: `42<|im_end|>`, `42</s>`, `42<end_of_turn>` are all 42.
"""

import re

MAX_TAIL_CHARS = 300  # of the end of a text, in which they are looked for
_TOKENS = re.compile(
    r"\s*(?:"
    r"<[|｜](?:[\w▁]{0,30}?(?:end|eo)[\w▁]{0,30}|return|call|pad)[|｜]>"  # noqa: RUF001
    r"|</s>|<(?:eos|pad|eot|eoa|turn\||end_of_(?:turn|utterance|text))>|\[(?:EOS|PAD|SEP)\]"
    r")\s*$",
    re.IGNORECASE,
)


def without_specials(text: str) -> str:
    """Return a text without the special tokens at its end."""
    if not text.rstrip().endswith((">", "]")):
        return text
    start = max(0, len(text) - MAX_TAIL_CHARS)
    tail = text[start:]
    while found := _last(tail):
        tail = tail[: found.start()]
    return text[:start] + tail


def _last(tail: str) -> "re.Match[str] | None":
    begin = max(tail.rfind("<"), tail.rfind("["))
    return _TOKENS.match(tail, begin) if begin >= 0 else None
