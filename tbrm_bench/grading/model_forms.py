r"""A gold as models write it where its kind leaves a choice: functions, families, lists, sets of numbers, intervals.

    f(x)=2x+c    2x+c    f(x) = 2x+k \text{ for some constant } k    f(t)=2t+c    f\colon x \mapsto 2x+c
    3, 7         \{3, 7\}    3\text{ or }7    x \in \{3, 7\}
    \text{odd } n    n \equiv 1 \pmod 2    n = 2k+1,\ k \in \mathbb{Z}    \text{all odd numbers}

Only what means the same wherever it is written; what depends on the question (units, a domain) is left out.
"""

import re
from collections.abc import Iterator

_DEFINITION = re.compile(r"([a-zA-Z])\(([a-z])\)\s*=\s*((?:(?!\\text|=).)+)")
_CONSTANT = re.compile(r"(?<![a-zA-Z\\])([abck])(?![a-zA-Z(])")
_PLAIN = re.compile(r"-?\d+(?:/\d+|\.\d+)?|-?\\frac\{\d+\}\{\d+\}")
_WORDS = re.compile(r"\\text\{([^{}]*)\}")
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "odd": (r"n \equiv 1 \pmod 2", r"n = 2k+1,\ k \in \mathbb{Z}", r"\text{all odd numbers}", r"n\text{ is odd}"),
    "even": (r"n \equiv 0 \pmod{2}", r"n = 2k,\ k \in \mathbb{Z}", r"\text{all even numbers}", r"n\text{ even}"),
}


_DIGIT = re.compile(r"(?<![\d_.])\d(?=\d*)")
_TURNED = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"(?<=[\w)}])\s*\+", " -"),
        (r"(?<=[\w)}])\s*-", " +"),
        (r"\\geq?(?![a-zA-Z])", r"\le "),
        (r"\\leq?(?![a-zA-Z])", r"\ge "),
        (r"<", ">"),
        (r">", "<"),
        (r"\\lfloor(.*?)\\rfloor", r"\lceil n \rceil"),
        (r"\\mathbb\{Z\}", r"\mathbb{N}"),
        (r"\bodd\b", "even"),
        (r"\beven\b", "odd"),
        (r"\bprime\b", "composite"),
        (r"\b[Aa]ll\b", "no"),
        (r"\b[Nn]o (?=solution|positive)", "infinitely many "),
        (r"\bempty\b", "full"),
    )
)


def model_forms(answers: tuple[str, ...]) -> list[str]:
    """Return other spellings of an answer, without a box, that mean the same; none for most plain values."""
    forms = list(_lists(answers))
    if all(_DEFINITION.fullmatch(answer) for answer in answers):
        forms += _functions(answers)
    if len(answers) == 1:
        forms += _with_relation(answers[0])
        forms += _in_words(answers[0])
    return list(dict.fromkeys(form for form in forms if form != ", ".join(answers)))


def _lists(answers: tuple[str, ...]) -> Iterator[str]:
    if len(answers) < 2:
        return
    yield r"\text{ or }".join(answers)
    yield r", ".join(answers[:-1]) + r" \text{ and } " + answers[-1]
    yield r",\quad ".join(answers)
    if all(_PLAIN.fullmatch(answer) for answer in answers):
        yield rf"\{{{', '.join(answers)}\}}"
        yield rf"\left\{{{', '.join(answers[::-1])}\right\}}"
        yield rf"n \in \{{{', '.join(answers)}\}}"
        yield r"\text{ or }".join(f"n = {answer}" for answer in answers)


def _functions(answers: tuple[str, ...]) -> Iterator[str]:
    parts = [found.groups() for answer in answers if (found := _DEFINITION.fullmatch(answer))]
    joined = r" \text{ or } "
    yield joined.join(f"{name}({letter}) = {value}" for name, letter, value in parts)
    yield joined.join(rf"{name}({letter}) \equiv {value}" for name, letter, value in parts)
    if len(parts) == 1:
        name, letter, value = parts[0]
        yield value
        yield rf"{name}({letter}) = {value} \text{{ for all }} {letter}"
        yield rf"{name}({letter}) = {value}\quad \forall {letter}"
        yield rf"{name}: {letter} \mapsto {value}"
    if all(letter == "x" and not re.search(r"(?<![a-zA-Z\\])t(?![a-zA-Z])", value) for _, letter, value in parts):
        renamed = [(name, re.sub(r"(?<![a-zA-Z\\])x(?![a-zA-Z])", "t", value)) for name, _, value in parts]
        yield joined.join(f"{name}(t) = {value}" for name, value in renamed)


def _with_relation(answer: str) -> Iterator[str]:
    if re.fullmatch(r"-?\d+", answer) or (not _WORDS.search(answer) and not re.search(r"[=<>,]|\\[gl]e", answer)):
        yield f"= {answer}"


def _in_words(answer: str) -> Iterator[str]:
    words = _WORDS.search(answer)
    for word, spellings in _SYNONYMS.items():
        if words and words[0] != answer and words[1].split() == [word]:  # "even" alone describes no set
            yield from spellings


def near_misses(answers: tuple[str, ...]) -> list[str]:
    """Return wrong answers that differ from the right one in one digit, sign, relation, letter case or word."""
    text = ", ".join(answers)
    found = [text[: one.start()] + str((int(one[0]) + 1) % 10) + text[one.end() :] for one in _DIGIT.finditer(text)]
    for old, new in _TURNED:
        found += [text[: one.start()] + new + text[one.end() :] for one in old.finditer(text)]
    if not found:
        found = [f"{text}+1", f"2{text}"]
    return list(dict.fromkeys(found))
