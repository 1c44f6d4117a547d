r"""The answer of a completion that has no box: what it says after "the answer is", or what its last line ends in.

In this order: `<answer>` tags; "final answer is"; "the answer is", "Answer:", "####"; "24 is the answer"; else the
formula, the value or the choice that the last line states; else the whole text where that is all that was said.

Examples: "So there are 12 apples." states 12; "The roots are $2$ and $5$." states the list 2, 5.
"""

import re

from tbrm_bench.grading.find.bare import bare_answer, unmarked, without_inner_words
from tbrm_bench.grading.limits import MAX_AFTER_CHARS, MAX_ITEMS, MAX_SCAN_CHARS, MAX_TRIES
from tbrm_bench.grading.read.latex import split_top_level
from tbrm_bench.grading.read.units import names_a_unit
from tbrm_bench.grading.read.words import spelt_number

Stated = tuple[str | None, str]  # the answer, and the step that found it

_TAGS = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.IGNORECASE | re.DOTALL)
_IS = r"[^.:\n$\\]{0,60}?(?:\b(?:is|are|equals?|to be|must be|would be|should be)\b\s*:?|:|：)"  # noqa: RUF001
# What an answer may follow, by how the phrase begins; of each, the last that is followed as its pattern says.
_FINAL = {"final": re.compile(rf"final\s+answer\b{_IS}|final\s+answer\s*\**\s*\n", re.IGNORECASE)}
_ANSWER = {
    "answer": re.compile(rf"answers?\b(?:{_IS}|\s*=|\s[-–—]\s|(?<=answer)\W{{0,6}}\n)", re.IGNORECASE),  # noqa: RUF001
    "####": re.compile("####"),
    "答案": re.compile(r"答案[^.:\n$\\]{0,8}?(?:是|为|：|:)"),  # noqa: RUF001
}
_REVERSED = re.compile(
    r"(?:^|[\s:*])(?P<answer>\$[^$\n]{1,200}\$|\\\([^\n]{1,200}?\\\)|[^\s$]{1,60})"
    r" is (?:indeed )?(?:the|our|my)(?: \w{1,20}){0,2} answer\b"
    r"(?: to[^.\n]{0,80})?[\s.!*]*$",
    re.IGNORECASE,
)
_DIGIT_OR_COMMAND = re.compile(r"[\d\\$]")
_CONNECTIVE = re.compile(
    r"^(?:(?:so|thus|hence|therefore|then)\b\s*[,:]?\s*)?(?:>\s|it's\s|it is\s|that's\s)?(?=[^\n]*$)", re.IGNORECASE
)
_HOPE = re.compile(r"[.,]?\s{0,9}\bI hope\b", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"\.(?=\s|\*|$)|\n|。|,?\s(?:because|since|which|as|hence|therefore|not|rather than)\b"
    r"|(?<! or)\sso\b|(?<!,)\swhere\b"
)
_CORRECTION = re.compile(r"not\b[^.\n]{1,40}?\bbut(?: rather)?\b\s*", re.IGNORECASE)
_ASIDE = re.compile(
    r"\s*\((?:about|approx|approximately|≈|~|i\.e\.)[^()\n]*\)\s*$"
    r"|,?\s*(?:or|i\.e\.,?)\s+(?:about|approximately|roughly|≈)\s*[\d.,]+\s*%?$"
)
_CIRCUMSTANCE = re.compile(r",?\s(?:achieved|attained|obtained|occurring|which|when|where|since|because|as)\b.*$")
_MATH = re.compile(
    r"\$\$(.+?)\$\$|\$((?:\\\$|[^$\n])+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|\\begin\{(?:align|aligned|equation|gather|eqnarray)\*?\}(.+?)\\end\{(?:align|aligned|equation|gather|eqnarray)",
    re.DOTALL,
)
_JOINT = re.compile(r"\s*(?:,|;|,?\s*\band\b|,?\s*\bor\b)\s*")
_SEVERAL = re.compile(r"\b(?:are|solutions|roots|answers|values|zeros)\b", re.IGNORECASE)
# What a last line may state its value with: "so there are 12 apples.", "3 + 4 = 7", "the point is (3, -2)".
_CONNECTORS = re.compile(
    r"=|:|\b(?:is|are|be|was|were|equals?|gives?|gives us|gets?|got|have|has|find|obtain|total(?:s|ling)?"
    r"|makes?|leaves?|costs?|therefore|only|at|by|us|exactly|needs?|takes?|contains?|measures?|spent|spends?|paid|pays?|earned|earns?|saved|saves?|sold|yields?|requires?|becomes?)\b|'s\b"
)
_LABEL = re.compile(
    r"^[\W_]*(?:the )?(?:final )?(?:result|solution|ans|a|value|total|output)[\W_]*[:=]\s*(?P<answer>.+)$",
    re.IGNORECASE,
)
_BOLD_END = re.compile(r"\*\*([^*]*\d[^*]{0,40})\*\*\s*[.!]?\s*$")
_NUMBER = r"[+−-]?\\?[$€£]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?(?:[eE][+-]?\d+)?\s?(?:\\?%|°)?"  # noqa: RUF001
# "Hence there are **48** such ways.": the one number of the line, in bold, behind a word that states it.
_BOLD_COUNT = re.compile(rf"[^\d*]*\b(?:is|are|was|were|has|have|exactly)\s+\*\*({_NUMBER})\*\*\s[^\d*$\\=]{{1,60}}")
_COUNTED = re.compile(
    rf"(?:(?:a|an|the|total|of|about|exactly|only|just|equal|to)\s+){{0,3}}(?P<number>{_NUMBER})(?P<words>(?:\s+[A-Za-z²³^2/]+){{0,4}})"
)
_VALUE = re.compile(r"[-+\w\s*/^().,;\[\]{}|!%°√π∞∪≤≥<>≈−×·½¼¾²³$\\]{1,120}")  # noqa: RUF001
_WORDS_OF_VALUES = frozenset(["sqrt", "log", "sin", "cos", "tan", "exp", "and", "pi", "or", "inf", "ln"])
_FOR_ALL = re.compile(r"\bfor (?:all|every|any|each)(?: [a-z]{2,12}){0,3} $")
_LETTERS_OF = re.compile(
    r"\b(?:where|with|for some)(?: [a-z]{2,12}){0,3} \$[a-z](?:, ?[a-z])*\$"
)  # "where $c$ is constant"
_CHOICE = re.compile(r"\(?([A-J])\)?")
_CHOICE_LINE = re.compile(r"\b(?:option|choice|letter|answer)\b", re.IGNORECASE)
_CHOSEN = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice) \(?([A-J])\)? is (?:thus |therefore |indeed )?(?:the )?(?:only )?"
    r"(?:correct|right|answer)\b"
)
_DENIED = re.compile(r"\s{0,9}(?:is|was) (?:wrong|incorrect|false|not\b)")
_PREDICATE = re.compile(r"[A-Z][A-Za-z' ]{1,80}?\b(?:is|are) ([a-z]{3,20})")  # "The function is even."
_PROVED = re.compile(
    r"(?:\s{0,9}(?:\$*\s?\\(?:blacksquare|square|Box|qed)(?![a-zA-Z])\s?\$*|[∎■□]|Q\.?E\.?D\.?(?!\w)))+$"
)
_PROVED_CHARS = 60
_MARKUP = "*_` \t\n"


def tagged(text: str) -> str | None:
    """Return what is between the last `<answer>` tags, if there are any."""
    found = list(_TAGS.finditer(text)) if "</answer>" in text.lower() else []
    return found[-1][1].strip().strip("$").strip() or None if found else None


def stated(text: str, *, is_whole: bool) -> Stated:
    """Return the answer that a text without a box states; `is_whole`: nothing was taken away before it."""
    stripped = _without_proved(text.strip())
    if not stripped:
        return None, "none"
    if is_whole and "\\text" in stripped and bare_answer(stripped) and not _looks_like_prose(stripped):
        return unmarked(stripped), "fallback"  # words in \text are part of an answer
    for anchors, source in ((_FINAL, "final_answer"), (_ANSWER, "fallback")):
        ends = [end for word, pattern in anchors.items() if (end := _last_end(stripped, word, pattern)) is not None]
        if ends:
            answer = _after_anchor(stripped, max(ends))
            return answer, source if answer else "none"
    if "answer" in stripped[-400:].lower() and (found := _REVERSED.search(stripped[-400:])) is not None:
        value = found["answer"].strip("$")
        if _DIGIT_OR_COMMAND.search(value) or _CHOICE.fullmatch(value):
            return value, "fallback"
    answer = _last_value(stripped, is_whole=is_whole)
    return answer, "fallback" if answer else "none"


def _without_proved(text: str) -> str:
    """Return the text without the sign that a proof ends."""
    found = _PROVED.search(text[-_PROVED_CHARS:])
    return text[: len(text) - len(found.group())].rstrip() if found and len(found.group()) < len(text) else text


def _last_end(text: str, word: str, pattern: re.Pattern[str]) -> int | None:
    """Return the end of the last match of a pattern that begins with a word; a few hundred are tried."""
    lowered = text.lower()
    lowered = lowered if len(lowered) == len(text) else text
    position = len(text)
    for _ in range(MAX_TRIES):
        position = lowered.rfind(word, 0, position)
        if position < 0:
            return None
        match = pattern.match(text, position)
        if match is not None and _begins(text, position, heading=word == "answer" and match.group().endswith("\n")):
            return match.end()
    return None


def _begins(text: str, position: int, *, heading: bool) -> bool:
    """Whether a word begins here, and, for a heading, its line as well."""
    if heading:
        return not re.search(r"\w", text[text.rfind("\n", 0, position) + 1 : position])
    return position == 0 or not (text[position - 1].isascii() and text[position - 1].isalnum())


def _after_anchor(text: str, start: int) -> str | None:
    """Return the answer that follows "final answer is": the first formula, else the rest of the sentence."""
    rest = text[start:].lstrip(" \t\n*_`:：}")[:MAX_AFTER_CHARS]  # noqa: RUF001
    correction = _CORRECTION.match(rest)
    if correction:
        rest = rest[correction.end() :]
    hope = _HOPE.search(rest)
    if hope:
        rest = rest[: hope.start()]
    formula = _MATH.match(rest)
    if formula:
        return None if _DENIED.match(rest, formula.end()) else _joined_formulas(rest, formula)
    end = _SENTENCE_END.search(rest)
    rest = rest[: end.start()] if end else rest
    inner = _MATH.search(rest)
    if inner and re.fullmatch(r"[A-Za-z ,'-]*", rest[: inner.start()]):
        return _joined_formulas(rest[inner.start() :], _MATH.match(rest[inner.start() :]))
    return _ASIDE.sub("", rest.strip(_MARKUP)).rstrip(".").strip(_MARKUP) or None


def _joined_formulas(rest: str, formula: "re.Match[str] | None") -> str | None:
    """Return the formula and those joined to it by commas, "and", "or", as one list."""
    values: list[str] = []
    position = 0
    while formula is not None and len(values) < MAX_ITEMS:
        values.append(_inside(formula))
        position = formula.end()
        joint = _JOINT.match(rest, position)
        formula = _MATH.match(rest, joint.end()) if joint else None
    if len(values) == 1 and (percent := re.match(r"\s*\\?%", rest[position:])):
        values[0] += percent.group().strip()
    return ", ".join(values) or None


def _inside(formula: "re.Match[str]") -> str:
    return next(group for group in formula.groups() if group is not None).strip()


def _last_value(text: str, *, is_whole: bool) -> str | None:
    text = _CONNECTIVE.sub("", text)
    # A word alone is an answer when it is all that was said, and none behind a thought.
    if not is_whole and not _DIGIT_OR_COMMAND.search(text) and not _CHOICE.fullmatch(text.strip(_MARKUP + ".")):
        return None
    line = next((line for line in reversed(text.split("\n")) if line.strip()), "")[-MAX_SCAN_CHARS // 100 :]
    label = _LABEL.match(line)
    if label and "$" not in line and "\\(" not in line and "=" not in label["answer"]:
        return label["answer"].strip(_MARKUP).rstrip(".")
    if chosen := _CHOSEN.search(line):
        return chosen[1]
    if "\n" not in text and len(text) <= 200:
        if not _looks_like_prose(text):
            return unmarked(text)  # a bare answer, as it would be in a box
        if bare := _said_alone(text.strip(_MARKUP).rstrip("."), is_whole=is_whole):
            return bare
    tail = text[-MAX_SCAN_CHARS // 100 :]
    formulas = list(_MATH.finditer(tail)) if "$" in tail or "\\" in tail else []
    if formulas and len(tail) - formulas[-1].end() < 80 and "\n" not in tail[formulas[-1].end() :].strip():
        behind = tail[formulas[-1].end() :]
        return (any(map(str.isdigit, behind)) and _stated_by(behind)) or _last_formulas(tail, formulas)
    bold = _BOLD_END.search(line)
    if bold:
        return bold[1].strip(" .$")
    counted = _BOLD_COUNT.fullmatch(line)
    if counted:
        return counted[1].strip()
    return _stated_by(line)


def _said_alone(sentence: str, *, is_whole: bool) -> str | None:
    """Return the quantity that is all of a text, 5 meters per second, or the word that one sentence ends in."""
    counted = _COUNTED.fullmatch(sentence)
    if counted and names_a_unit(counted["words"].strip()):
        return sentence
    predicate = _PREDICATE.fullmatch(sentence) if is_whole else None
    return predicate[1] if predicate else None


def _last_formulas(tail: str, formulas: "list[re.Match[str]]") -> str:
    """Return the right side of the last formula, or of all that a line lists: "The roots are $2$ and $5$."."""
    if len(formulas) > 1 and (
        _FOR_ALL.search(tail, 0, formulas[-1].start())
        or _LETTERS_OF.search(tail, formulas[-2].end(), formulas[-1].end())
    ):
        formulas = formulas[:-1]
    values = [_right_side(_inside(formulas[-1]))]
    start = formulas[-1].start()
    line_start = tail.rfind("\n", 0, start) + 1
    several = _SEVERAL.search(tail, line_start, start) is not None
    for formula in reversed(formulas[:-1]):
        if not several or formula.start() < line_start or not _JOINT.fullmatch(tail, formula.end(), start):
            break
        values.insert(0, _right_side(_inside(formula)))
        start = formula.start()
    return ", ".join(values)


def _stated_by(line: str) -> str | None:
    """Return the value that a line without formulas ends in, behind "is", "=" and their like."""
    line = _ASIDE.sub("", _CIRCUMSTANCE.sub("", line.strip(_MARKUP + ".!。")))
    for connector in reversed(list(_CONNECTORS.finditer(line))):
        value = line[connector.end() :].strip(_MARKUP)
        if counted := _COUNTED.fullmatch(value):
            unit = counted["words"].strip()
            return f"{counted['number'].strip().rstrip(',')} {unit if unit and names_a_unit(unit) else ''}".strip()
        if _CHOICE_LINE.search(line) and (choice := _CHOICE.fullmatch(value)):
            return choice[1]
        if spelt_number(value) is not None:
            return value
        if _VALUE.fullmatch(value) and any(char.isdigit() for char in value) and not _has_prose(value):
            return value
    return None


def _has_prose(value: str) -> bool:
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{3,}", value)
    return any(word not in _WORDS_OF_VALUES for word in words) or re.match(r"(?:to|of|in|an?)\b", value) is not None


def _looks_like_prose(text: str) -> bool:
    text = without_inner_words(text)
    if "$" in text or r"\(" in text:
        return not _MATH.fullmatch(text.rstrip("."))
    words = re.findall(r"(?<![\\a-zA-Z])[A-Za-z]{2,}", text)
    return len(words) >= 3 or (
        len(words) == 2 and words[0].lower() in ("we", "it", "this", "that", "so", "thus", "hence")
    )


def _right_side(formula: str) -> str:
    sides = split_top_level(formula, "=")
    return sides[-1] if sides else formula
