r"""Find the final answer in a completion, in time linear in its length.

In this order, the first that applies decides:

1. `boxed`: the last `\boxed{}` or `\fbox{}`. When nothing closes it there is no answer: never an earlier box, never an
   earlier number. Boxes side by side ("\boxed{2} and \boxed{3}") are one list.
2. A completion that ran into the token cap ends here: whatever else it says was not meant as its final answer.
3. `final_answer`: what is in `<answer>` tags, or follows the last "final answer is" or "final answer:".
4. `fallback`: "the answer is", "Answer:", "####"; else what the last line states (see `stated`).

`strict_boxed` leaves only step 1, and with `answer_tags` the tags of step 3. What is between `<think>` and `</think>`
is never read; what follows is.

Example: "So x = 3.\nThe final answer is $\frac{3}{2}$. I hope it is correct." gives `\frac{3}{2}` by `final_answer`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tbrm_bench.grading.find.box_context import in_formula
from tbrm_bench.grading.find.specials import without_specials
from tbrm_bench.grading.find.stated import stated, tagged
from tbrm_bench.grading.limits import MAX_GAP_CHARS, MAX_ITEMS, MAX_SCAN_CHARS
from tbrm_bench.grading.read.latex import match_brace
from tbrm_bench.grading.read.units import names_a_unit
from tbrm_bench.records import FinishReason

Source = Literal["boxed", "unterminated_box", "empty_box", "final_answer", "fallback", "none", "inside_think"]

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])")
_BARE_BOX_VALUE = re.compile(r"\s*(?:\\text\s*\{[^{}\n]*\}|\\[a-zA-Z]+|[+-]?[\d.,]*\d(?:/\d+)?|[A-Za-z])")
_GAP = re.compile(
    r"(?:[\s$,;&*]|\n\s*[-•]\s|[a-zA-Z](?:_\{?\w\}?)?\s*=|\\[,;:!\s()\[\]]|\\q?quad|\\(?:text|mbox|textrm)\s*\{\s*(?:and|or)?\s*\}|\band\b|\bor\b|,)*"
)
_THINK_TAG = re.compile(
    r"<(/?)(?:think(?:ing)?|thought|reasoning|scratchpad)>|\[(/?)THINK\]|◁(/?)think▷|<\|(begin|end)_of_thought\|>",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?:\\(?:text|mathrm|mbox)\s*\{\s*\}|\\[,;:! ]|\\q?quad|[\s$])*")
# What may follow a box and belongs to its value: a base, a percent or degree sign, a unit.
_TAIL = re.compile(
    r"\s*(?P<sign>\\?%|(?:\\,)?\^\{?\\circ\}?|°|_\{?\d{1,2}\}?(?!\w))"
    r"|(?:\s|\\[,;: ]|~|\$|\\\))*\\(?:text|mathrm|mbox|textrm)\s*\{(?P<text>[^{}\\]{1,40})\}(?P<power>\^\{?-?\d\}?)?"
    r"|(?:\s|\$|\\\))*(?P<word>(?:[a-zA-Zµ]{2,12})(?:/[a-zA-Z]{1,8})?(?:\^\d|[²³])?)(?=[\s.,;$*]|$)"
)
# Units that are English words as well: "\boxed{5} in total".
_ENGLISH = frozenset(("in", "as", "at", "a", "min", "deg", "ms", "ton", "day", "second", "mole"))


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer as written (None if there is none) and which step found it or found that there is none."""

    answer: str | None
    source: Source


def extract(
    text: str, *, finish_reason: FinishReason = "stop", strict_boxed: bool = False, answer_tags: bool = False
) -> Extraction:
    """Return the final answer of a completion, untouched apart from the spaces around it."""
    whole = text = without_specials(text)
    text, open_think = remove_think(text) if _may_think(text) else (text, False)
    boxed = _boxed(text, with_tail=True)
    if boxed is not None:
        return boxed
    if (answer_tags or not strict_boxed) and not open_think and (answer := tagged(text[-MAX_SCAN_CHARS:])):
        return Extraction(answer, "final_answer")
    if strict_boxed or finish_reason != "stop" or open_think:
        return Extraction(None, "inside_think" if open_think else "none")
    return Extraction(*stated(text[-MAX_SCAN_CHARS:], is_whole=text is whole))  # type: ignore[arg-type]


def _may_think(text: str) -> bool:
    return "<" in text or "◁" in text or "[/THINK]" in text or "[THINK]" in text


def remove_think(text: str) -> tuple[str, bool]:
    """Return the text without its thoughts, and whether it ends inside one.

    A closing tag without an opening one ends a thought that the prompt had opened: all before it is thought.
    """
    kept: list[str] = []
    position, thinking = 0, False
    for tag in _THINK_TAG.finditer(text):
        closes = any(mark in ("/", "end") for mark in tag.groups())
        if not closes:
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
    found = _boxed(text, with_tail=False)
    return re.sub(r"\\?%$", "", found.answer) if found is not None and found.answer else None


def _boxed(text: str, *, with_tail: bool) -> Extraction | None:
    starts = _boxes_backwards(text)
    begin = next(starts, -1)
    if begin < 0:
        return None
    last = _read_box(text, begin)
    if last is None:
        return Extraction(None, "unterminated_box")
    if _NOTHING.fullmatch(last[0]):
        return Extraction(None, "empty_box")
    contents = [last[0]]
    stop = last[1]
    for start in islice(starts, MAX_ITEMS):
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
    if with_tail and len(contents) == 1 and (around := in_formula(text, begin, stop)):
        return Extraction(_BOX.sub("", around), "boxed")
    answer = ", ".join(content for content in reversed(contents) if content)
    return Extraction(answer + (_tail(text, stop) if with_tail and len(contents) == 1 else ""), "boxed")


def _boxes_backwards(text: str) -> Iterator[int]:
    """Yield where the box commands of a text are, the last one first; most texts are asked for that one alone."""
    ends = {command: text.rfind(command) for command in (r"\boxed", r"\fbox")}
    while (position := max(ends.values())) >= 0:
        command = max(ends, key=ends.__getitem__)
        if _BOX.match(text, position):
            yield position
        ends[command] = text.rfind(command, 0, position)


def _tail(text: str, stop: int) -> str:
    """Return what follows a box and belongs to its value: `\\boxed{40}\\%`, `\\boxed{5} \\text{ cm}`."""
    if not text[stop - 2 : stop - 1].isalnum() and text[stop - 2 : stop - 1] != "}":
        return ""
    tail = _TAIL.match(text, stop, stop + 60)
    if tail is None:
        return ""
    if tail["sign"]:
        return tail["sign"]
    unit = tail["text"] or tail["word"]
    if not names_a_unit(unit.split("^")[0].rstrip("²³")) or (tail["word"] and unit.lower() in _ENGLISH):
        return ""
    return rf" \text{{ {tail['text'].strip()}}}{tail['power'] or ''}" if tail["text"] else f" {unit}"


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
        content = without_specials(_BOX.sub("", text[index + 1 : end])).strip().strip("$").strip()
        if content.startswith("{") and match_brace(content, 0) == len(content) - 1:  # a box in a box
            content = content[1:-1].strip()
        return content, end + 1
    value = _BARE_BOX_VALUE.match(text, command.end())
    if value is None:
        return None
    return value.group().strip(), value.end()
