r"""Find the final answer in a completion, in time linear in its length.

In this order, the first that applies decides:

1. `boxed`: the last `\boxed{}` or `\fbox{}`. When nothing closes it there is no answer: never an earlier box, never an
   earlier number. Boxes that stand side by side ("\boxed{2} and \boxed{3}") are one list.
2. A completion that ran into the token cap ends here: whatever else it says was not meant as its final answer.
3. `final_answer`: what follows the last "final answer is" or "final answer:".
4. `fallback`: "the answer is", "Answer:", "####"; else the formula or the number that the last line ends in.

`strict_boxed` leaves only step 1. What stands between `<think>` and `</think>` is never read; what follows is.

Example: "So x = 3.\nThe final answer is $\frac{3}{2}$. I hope it is correct." gives `\frac{3}{2}` by `final_answer`.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tbrm_bench.grading.latex import match_brace, split_top_level
from tbrm_bench.grading.limits import MAX_GAP_CHARS, MAX_ITEMS, MAX_SCAN_CHARS
from tbrm_bench.records import FinishReason

Source = Literal["boxed", "unterminated_box", "empty_box", "final_answer", "fallback", "none", "inside_think"]

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])")
_BARE_BOX_VALUE = re.compile(r"\s*(?:\\text\s*\{[^{}\n]*\}|\\[a-zA-Z]+|[+-]?[\d.,]*\d(?:/\d+)?|[A-Za-z])")
_GAP = re.compile(
    r"(?:[\s$,;&]|[a-zA-Z](?:_\{?\w\}?)?\s*=|\\[,;:!\s()\[\]]|\\q?quad|\\(?:text|mbox|textrm)\s*\{\s*(?:and|or)?\s*\}|\band\b|\bor\b|,)*"
)
_THINK_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_FINAL = re.compile(r"final\s+answer\b[^.:\n$\\]{0,60}?(?:\bis\b\s*:?|:)|final\s+answer\s*\**\s*\n", re.IGNORECASE)
_ANSWER = re.compile(
    r"(?:\banswer\b[^.:\n$\\]{0,60}?(?:\bis\b\s*:?|:)|####|\banswer\s*=|(?:^|\n)\s*(?:#+|\*\*)\s*answer\s*\**\s*\n)",
    re.IGNORECASE,
)
_DIGIT_OR_COMMAND = re.compile(r"[\d\\$]")
_BOLD_END = re.compile(r"\*\*([^*]*\d[^*]{0,40})\*\*\s*[.!]?\s*$")
_CONNECTIVE = re.compile(r"^(?:so|thus|hence|therefore|then)\b\s*[,:]?\s*(?=[^\n]*$)", re.IGNORECASE)
_HOPE = re.compile(r"[.,]?\s*\bI hope\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|\*|$)|\n|(?<!,)\s(?:because|since|which|where|so)\b")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$((?:\\\$|[^$\n])+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
# A number that the last line states: "so there are 12 apples.", "3 + 4 = 7"; not any that happens to stand there.
_STATED_NUMBER = re.compile(
    r"(?:=|:|\b(?:is|are|be|was|were|equals?|gives?|gets?|got|have|has|find|obtain|total(?:s|ling)?|makes?|leaves?|costs?)\b)"
    r"[^=:\d]{0,40}?(?P<number>(?<![\w.])[+-]?\\?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?(?:[eE][+-]?\d+)?\s?(?:\\?%)?)"
    r"(?:\s+[A-Za-z]+){0,4}[\s.!*]*$"
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer as written (None if there is none) and which step found it or found that there is none."""

    answer: str | None
    source: Source


def extract(text: str, *, finish_reason: FinishReason = "stop", strict_boxed: bool = False) -> Extraction:
    """Return the final answer of a completion, untouched apart from the spaces around it."""
    whole = text
    text, open_think = remove_think(text) if "<" in text else (text, False)
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    if strict_boxed or finish_reason == "length" or open_think:
        return Extraction(None, "inside_think" if open_think else "none")
    return _without_box(text[-MAX_SCAN_CHARS:], is_whole=text is whole)


def remove_think(text: str) -> tuple[str, bool]:
    """Return the text without its thoughts, and whether it ends inside one.

    A closing tag without an opening one ends a thought that the prompt had opened: all before it is thought.
    """
    kept: list[str] = []
    position, thinking = 0, False
    for tag in _THINK_TAG.finditer(text):
        if not tag[1]:
            if not thinking:
                kept.append(text[position : tag.start()])
            thinking = True
        else:
            if not thinking:
                kept.clear()
            thinking, position = False, tag.end()
    if not thinking:
        kept.append(text[position:])
    return "".join(kept), thinking


def boxed_content(text: str) -> str | None:
    """Return the content of the last box of a text, without a percent sign; None if there is none or it is open."""
    found = _boxed(text)
    return re.sub(r"\\?%$", "", found.answer) if found is not None and found.answer else None


def _boxed(text: str) -> Extraction | None:
    start = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    if start < 0:
        return None
    starts = [box.start() for box in _BOX.finditer(text)]
    if not starts:
        return None
    last = _read_box(text, starts[-1])
    if last is None:
        return Extraction(None, "unterminated_box")
    contents = [last[0]]
    begin, stop = starts[-1], last[1]
    for start in reversed(starts[:-1][-MAX_ITEMS:]):
        earlier = _read_box(text, start)
        if earlier is None:
            break
        content, end = earlier
        if end >= stop:  # a box around the last one
            contents, begin, stop = [content], start, end
        elif begin - end <= MAX_GAP_CHARS and _GAP.fullmatch(text, end, begin):
            contents.append(content)
            begin = start
        else:
            break
    answer = ", ".join(content for content in reversed(contents) if content)
    if not answer:
        return Extraction(None, "empty_box")
    if len(contents) == 1 and (percent := re.match(r"\s*\\?%", text[stop : stop + 4])):
        answer += percent.group().strip()
    return Extraction(answer, "boxed")


def _read_box(text: str, start: int) -> tuple[str, int] | None:
    """Return the content of the box command at `start` and the index after it; None if nothing closes it."""
    command = _BOX.match(text, start)
    assert command is not None
    index = command.end()
    while index < len(text) and text[index] in " \t\n":
        index += 1
    if index >= len(text):
        return None
    if text[index] == "{":
        end = match_brace(text, index)
        if end is None:
            return None
        content = _BOX.sub("", text[index + 1 : end]).strip().strip("$").strip()
        if content.startswith("{") and match_brace(content, 0) == len(content) - 1:  # a box in a box
            content = content[1:-1].strip()
        return content, end + 1
    value = _BARE_BOX_VALUE.match(text, command.end())
    if value is None:
        return None
    return value.group().strip(), value.end()


def _without_box(text: str, *, is_whole: bool) -> Extraction:
    stripped = text.strip()
    if not stripped:
        return Extraction(None, "none")
    lowered = stripped.lower()
    for word, pattern, source in (
        ("final", _FINAL, "final_answer"),
        ("answer", _ANSWER, "fallback"),
        ("####", _ANSWER, "fallback"),
    ):
        if word in lowered:
            anchors = list(pattern.finditer(stripped))
            if anchors:
                answer = _after_anchor(stripped, anchors[-1].end())
                return Extraction(answer, source if answer else "none")  # type: ignore[arg-type]
    return _last_value(stripped, is_whole=is_whole)


def _after_anchor(text: str, start: int) -> str | None:
    """Return the answer that follows "final answer is": the first formula, else the rest of the sentence."""
    rest = text[start:].lstrip(" \t\n*_:")
    hope = _HOPE.search(rest)
    if hope:
        rest = rest[: hope.start()]
    formula = _MATH.match(rest)
    if formula:
        return _joined_formulas(rest, formula)
    end = _SENTENCE_END.search(rest)
    rest = rest[: end.start()] if end else rest
    inner = _MATH.search(rest)
    if inner and re.fullmatch(r"[A-Za-z ,'-]*", rest[: inner.start()]):
        return _joined_formulas(rest[inner.start() :], _MATH.match(rest[inner.start() :]))
    return rest.strip().strip("*_").rstrip(".").strip() or None


def _joined_formulas(rest: str, formula: "re.Match[str] | None") -> str | None:
    """Return the formula and those joined to it by commas, "and", "or", as one list."""
    values: list[str] = []
    position = 0
    while formula is not None and len(values) < MAX_ITEMS:
        values.append(next(group for group in formula.groups() if group is not None).strip())
        position = formula.end()
        joint = re.compile(r"\s*(?:,|;|,?\s*\band\b|,?\s*\bor\b)\s*").match(rest, position)
        formula = _MATH.match(rest, joint.end()) if joint else None
    if len(values) == 1 and (percent := re.match(r"\s*\\?%", rest[position:])):
        values[0] += percent.group().strip()
    return ", ".join(values) or None


def _last_value(text: str, *, is_whole: bool) -> Extraction:
    text = _CONNECTIVE.sub("", text)
    # A word alone is an answer when it is all that was said, and none behind a thought.
    if not is_whole and not _DIGIT_OR_COMMAND.search(text):
        return Extraction(None, "none")
    if "\n" not in text and len(text) <= 200 and not _looks_like_prose(text):
        return Extraction(text, "fallback")  # a bare answer
    line = next((line for line in reversed(text.split("\n")) if line.strip()), "")[-MAX_SCAN_CHARS // 100 :]
    tail = text[-MAX_SCAN_CHARS // 100 :]
    formulas = list(_MATH.finditer(tail)) if "$" in tail or "\\" in tail else []
    if formulas and len(tail) - formulas[-1].end() < 80 and "\n" not in tail[formulas[-1].end() :].strip():
        value = next(group for group in formulas[-1].groups() if group is not None).strip()
        return Extraction(_right_side(value), "fallback")
    bold = _BOLD_END.search(line)
    if bold:
        return Extraction(bold[1].strip(" .$"), "fallback")
    stated = _STATED_NUMBER.search(line)
    if stated:
        return Extraction(stated["number"].strip().rstrip(","), "fallback")
    return Extraction(None, "none")


def _looks_like_prose(text: str) -> bool:
    if "$" in text or r"\(" in text:
        return not _MATH.fullmatch(text.rstrip("."))
    words = re.findall(r"(?<![\\a-zA-Z])[A-Za-z]{2,}", text)
    return len(words) >= 3


def _right_side(formula: str) -> str:
    sides = split_top_level(formula, "=")
    return sides[-1] if sides else formula
