r"""The answer of a completion that has no box: what it says after "the answer is", or what its last line ends in.

In this order: `<answer>` tags; "final answer is"; "the answer is", "Answer:", "####"; "24 is the answer"; else the
formula, the value or the choice that the last line states; else the whole text where that is all that was said.

Examples: "So there are 12 apples." states 12; "The roots are $2$ and $5$." states the list 2, 5.
"""

import re

from tbrm_bench.grading.find.announced import ANSWER, DENIED, FINAL, JOINT, MARKUP, announced, inside, place, with_aside
from tbrm_bench.grading.find.bare import bare_answer, is_aside, is_formula, unmarked, without_inner_words
from tbrm_bench.grading.find.concluded import is_concluded, is_cut_off, is_retracted
from tbrm_bench.grading.find.sentences import MATH, last_sentence
from tbrm_bench.grading.limits import MAX_ITEMS, MAX_SCAN_CHARS
from tbrm_bench.grading.read.latex import split_top_level
from tbrm_bench.grading.read.units import names_a_unit
from tbrm_bench.grading.read.words import spelt_number

Stated = tuple[str | None, str]  # the answer, and the step that found it

_TAGS = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.IGNORECASE | re.DOTALL)
_REVERSED = re.compile(
    r"(?:^|[\s:*])(?P<answer>\$[^$\n]{1,200}\$|\\\([^\n]{1,200}?\\\)|[^\s$]{1,60})"
    r" is (?:indeed )?(?:the|our|my)(?: (?:final|correct|right|required|desired|only|unique|exact|simplest|full"
    r"|sought"
    r"|requested|expected|numerical|best|true)){0,2} answer\b"
    r"(?: to[^.\n]{0,80})?[\s.!*]*$",
    re.IGNORECASE,
)
_DIGIT_OR_COMMAND = re.compile(r"[\d\\$]")
_CONNECTIVE = re.compile(
    r"^(?:(?:so|thus|hence|therefore|then)\b\s*[,:]?\s*)?(?:>\s|it's\s|it is\s|that's\s)?(?=[^\n]*$)", re.IGNORECASE
)
_CIRCUMSTANCE = re.compile(r",?\s(?:achieved|attained|obtained|occurring|which|when|where|since|because|as)\b.*$")
_ATTAINED = re.compile(r"\b(?:achieved|attained|reached|obtained|occurring|when|since|because)\b[^.$\\]*$")
_SEVERAL = re.compile(r"\b(?:are|solutions|roots|answers|values|zeros)\b", re.IGNORECASE)
# What a last line may state its value with: "so there are 12 apples.", "3 + 4 = 7", "the point is (3, -2)".
_CONNECTORS = re.compile(
    r"=|:|\b(?:is|are|be|was|were|equals?|gives?|gives us|gets?|got|have|has|find|obtain|total(?:s|ling)?"
    r"|makes?|leaves?|costs?|therefore|only|at|by|us|exactly|needs?|takes?|contains?|measures?|spent|spends?|paid|pays?|earned|earns?|saved|saves?|sold|sells?|ran|runs|made|ate|buys?|bought|uses?|used|wins?|won|yields?|requires?|becomes?)\b|'s\b"
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
    rf"(?:(?:a|an|the|total|of|about|exactly|only|just|equal|to)\s+){{0,3}}(?P<number>{_NUMBER})(?P<words>(?:\s+[A-Za-z²³^2/]+){{0,7}})"
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
_PREDICATE = re.compile(
    r"(?!(?:Not?|None|Nothing|Nobody|Neither|Never|Few|Hardly)\b)[A-Z][A-Za-z' ]{1,80}?\b(?:is|are) ([a-z]{3,20})"
)  # "The function is even."
_PROVED = re.compile(
    r"(?:\s{0,9}(?:\$*\s?\\(?:blacksquare|square|Box|qed)(?![a-zA-Z])\s?\$*|[∎■□]|Q\.?E\.?D\.?(?!\w)))+$"
)
_PROVED_MARKS = ("∎", "■", "□", "Q", "\\blacksquare", "\\square", "\\Box", "\\qed")
_PROVED_CHARS = 60
_NEAR = 100  # characters before a value
_STATEMENT = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?\s*(?:=|<|>|\\[lg]eq?(?![a-z])|\\in(?![a-z]))")
_CIRCUMSTANCES = re.compile(r"\b(?:for|when|where|with|if|at|given|since|as|because|let|by|from)\s*$", re.IGNORECASE)
# "x is 7 and y is": another value of another thing in the same sentence.
_ANOTHER_STATED = re.compile(
    r"(?:\b(?:is|are|was|were|equals?)|=)\s*\$?-?[\d.,]*\d\$?,?\s+(?:and|while|but|or)\s+"
    r"(?!(?:so|thus|hence|therefore|then)\b)(?:(?!\b(?:so|thus|hence|therefore|then|total|answer)\b)[^,;.]){1,40}$"
)
_PLAIN_NUMBER = re.compile(r"-?[\d.,]*\d")
_QUESTION_ENDS = MARKUP + ")\"'"


def tagged(text: str) -> str | None:
    """Return what is between the last `<answer>` tags, if there are any."""
    found = list(_TAGS.finditer(text)) if "</answer>" in text.lower() else []
    if found and (DENIED.match(text, found[-1].end()) or is_retracted(text[found[-1].end() :])):
        return None
    return found[-1][1].strip().strip("$").strip() or None if found else None


def stated(text: str, *, is_whole: bool) -> Stated:
    """Return the answer that a text without a box states; `is_whole`: nothing was taken away before it."""
    stripped = _without_proved(text.strip())
    if not stripped:
        return None, "none"
    bare = bare_answer(stripped) if is_whole else None
    if bare and (is_formula(bare) or ("\\text" in bare and not _looks_like_prose(bare))):
        return unmarked(stripped), "fallback"  # words in \text are part of an answer
    for anchors, source in ((FINAL, "final_answer"), (ANSWER, "fallback")):
        found = [last for word, pattern in anchors.items() if (last := announced(stripped, word, pattern))]
        if found:
            end, answer = max(found, key=lambda last: last[0])
            if not is_retracted(stripped[end:]):
                return (answer, source) if answer else (None, "none")
    if "answer" in stripped[-400:].lower() and (turned := _REVERSED.search(stripped[-400:])) is not None:
        value = turned["answer"].strip("$")
        if not _is_last_concluded(stripped, value):
            return None, "none"
        if _DIGIT_OR_COMMAND.search(value) or _CHOICE.fullmatch(value):
            return value, "fallback"
    if is_cut_off(stripped) or stripped.rstrip(_QUESTION_ENDS).endswith(("?", "？")) or is_aside(stripped):  # noqa: RUF001
        return None, "none"
    stripped = stripped[: last_sentence(stripped)[1]].rstrip()
    answer = _last_value(stripped, is_whole=is_whole)
    return (answer, "fallback") if answer and _is_last_concluded(stripped, answer) else (None, "none")


def _is_last_concluded(text: str, answer: str) -> bool:
    """Return whether the last sentence holds an answer, or the first of several, and concludes it."""
    start = last_sentence(text)[0]
    for value in (answer, *(item.strip() for item in split_top_level(answer, ",")[:1])):
        position = text.rfind(value, start)
        if position >= 0:
            return is_concluded(text, *place(text, position, value))
    return False


def _without_proved(text: str) -> str:
    """Return the text without the sign that a proof ends."""
    tail = text[-_PROVED_CHARS:]
    found = _PROVED.search(tail) if any(mark in tail for mark in _PROVED_MARKS) else None
    return text[: len(text) - len(found.group())].rstrip() if found and len(found.group()) < len(text) else text


def _last_value(text: str, *, is_whole: bool) -> str | None:
    connective = _CONNECTIVE.match(text)
    text = text[connective.end() :] if connective else text
    # A word alone is an answer when it is all that was said, and none behind a thought.
    if not is_whole and not _DIGIT_OR_COMMAND.search(text) and not _CHOICE.fullmatch(text.strip(MARKUP + ".")):
        return None
    line = next((line for line in reversed(text.split("\n")) if line.strip()), "")[-MAX_SCAN_CHARS // 100 :]
    sentence = line[-(len(text) - last_sentence(text)[0]) :]
    label = _LABEL.match(line)
    if label and "$" not in line and "\\(" not in line and "=" not in label["answer"]:
        return label["answer"].strip(MARKUP).rstrip(".")
    if chosen := _CHOSEN.search(line):
        return chosen[1]
    if "\n" not in text and len(text) <= 200:
        if not _looks_like_prose(text):
            return unmarked(text)  # a bare answer, as it would be in a box
        if bare := _said_alone(text.strip(MARKUP).rstrip("."), is_whole=is_whole):
            return bare
    tail = text[-MAX_SCAN_CHARS // 100 :]
    formulas = list(MATH.finditer(tail)) if "$" in tail or "\\" in tail else []
    if formulas and len(tail) - formulas[-1].end() < 80 and "\n" not in tail[formulas[-1].end() :].strip():
        behind = tail[formulas[-1].end() :]
        if any(map(str.isdigit, behind)) and behind[:1] != "." and _another_stated(tail, formulas[-1].end()):
            return None
        return (any(map(str.isdigit, behind)) and _stated_by(behind)) or _last_formulas(tail, formulas)
    bold = _BOLD_END.search(line)
    if bold:
        return bold[1].strip(" .$")
    counted = _BOLD_COUNT.fullmatch(line)
    if counted:
        return counted[1].strip()
    return _stated_by(sentence)


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
    while len(formulas) > 1 and _ATTAINED.search(tail, formulas[-2].end(), formulas[-1].start()):
        formulas = formulas[:-1]
    if statements := _side_by_side(tail, formulas):
        return statements
    values = [_right_side(inside(formulas[-1]))]
    start = formulas[-1].start()
    line_start = tail.rfind("\n", 0, start) + 1
    several = _SEVERAL.search(tail, line_start, start) is not None
    for formula in reversed(formulas[:-1]):
        if not several or formula.start() < line_start or not JOINT.fullmatch(tail, formula.end(), start):
            break
        values.insert(0, _right_side(inside(formula)))
        start = formula.start()
    return ", ".join(values)


def _side_by_side(tail: str, formulas: "list[re.Match[str]]") -> str | None:
    """Return statements with nothing but commas, "and", "or" between them as one list: "$x = 7$ or $x = 42$".

    None where the last one alone is the value: it is a formula in the others' letters, or they are its circumstances.
    """
    joined = formulas[-1:]
    for formula in reversed(formulas[:-1][-MAX_ITEMS:]):
        between = tail[formula.end() : joined[0].start()]
        if "\n" in between or not JOINT.fullmatch(between) or not _STATEMENT.match(inside(formula)):
            break
        joined.insert(0, formula)
    if (
        len(joined) == 1
        or not _STATEMENT.match(inside(joined[-1]))
        or len(split_top_level(inside(joined[-1]), "=")) > 2
        or _CIRCUMSTANCES.search(tail, 0, joined[0].start())
    ):
        return None
    sides = [split_top_level(inside(formula), "=") for formula in joined]
    one_letter = all(len(side) > 1 and side[0].strip() == sides[0][0].strip() for side in sides)
    return ", ".join(side[-1].strip() for side in sides) if one_letter else ", ".join(map(inside, joined))


def _another_stated(text: str, end: int) -> bool:
    """Whether what is said up to `end` begins behind another value: x is 7 and y."""
    return _ANOTHER_STATED.search(text, max(0, end - _NEAR), end) is not None


def _stated_by(line: str) -> str | None:
    """Return the value that a line without formulas ends in, behind "is", "=" and their like."""
    line = with_aside(_CIRCUMSTANCE.sub("", line.strip(MARKUP + ".!。")))
    for connector in reversed(list(_CONNECTORS.finditer(line))):
        if _another_stated(line, connector.start()):
            return None
        value = line[connector.end() :].strip(MARKUP)
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
        return not MATH.fullmatch(text.rstrip("."))
    words = re.findall(r"(?<![\\a-zA-Z])[A-Za-z]{2,}", text)
    return len(words) >= 3 or (
        len(words) == 2 and words[0].lower() in ("we", "it", "this", "that", "so", "thus", "hence")
    )


def _right_side(formula: str) -> str:
    sides = split_top_level(formula, "=")
    if len(sides) > 1 and all(_PLAIN_NUMBER.fullmatch(side.strip()) for side in sides):
        return formula  # 7 = 42
    return sides[-1] if sides else formula
