r"""The golds of IMO-AnswerBench: formulas with words around them, lists, cases, conditions; the gold rule `imo`.

    odd $n$                          \text{odd } n
    $g(x)=x, g(x)=-x$                g(x)=x and g(x)=-x
    $2^a$ for some $a>0$             2^a \text{ for some } a>0
    No positive integers          \text{no solutions}
    0 if $n=1$, otherwise $n^2$      \begin{cases} 0 & \text{if } n=1 \\ n^2 & \text{otherwise} \end{cases}

Words outside of dollar signs become \text{}, so that a gold is one formula. A list is split at its commas, but not
behind the words that begin a condition: what follows them belongs to the last member.
"""

import re

from tbrm_bench.grading.read.latex import split_top_level, strip_stops

_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}(?:[ \t]+[A-Za-z]{2,})*")
_CONDITION = re.compile(
    r"\\text\{[^{}]*(?<![a-zA-Z])(?:where|for|with|if|such that|excluding|except|other than)(?![a-zA-Z])"
)
_IF = re.compile(r"(?<![A-Za-z\\])if(?![A-Za-z])")
_OTHERWISE = re.compile(r"(?<![A-Za-z\\])otherwise(?![A-Za-z])")
_NAME = re.compile(r"[a-zA-Z]\([a-z](?:,[a-z])*\)\s*=")
_ON_A_LINE = re.compile(r"(.*\S)\s*\(\s*([^()]*(?:[=<>]|\\(?:geq?|leq?|neq?)(?![a-zA-Z]))[^()]*)\)")
_NONE = re.compile(
    r"no (?:(?:such|positive|negative|real) )*(?:integers?|numbers?|functions?|solutions?)\.?", re.IGNORECASE
)
_DOTS = re.compile(r"\\[lc]?dots|\.\.\.")


def imo_answers(text: str) -> tuple[str, ...]:
    """Return the answers of a gold as it is stored."""
    if _NONE.fullmatch(text.strip()):
        return (r"\text{no solutions}",)
    formula = strip_stops(_with_cases(text) or _as_formula(text))
    condition = _CONDITION.search(formula)
    head, tail = (formula[: condition.start()], formula[condition.start() :]) if condition else (formula, "")
    members = [re.sub(r"^\\text\{\s*and\s*\}\s*| (?=\}$)", "", member) for member in split_top_level(head)]
    if not members or any(_DOTS.fullmatch(member) or "\\underbrace" in member for member in members):
        return (formula,) if formula else ()
    separator = ", " if head.rstrip().endswith(",") else " "
    return (*members[:-1], f"{members[-1]}{separator}{tail}" if tail else members[-1])


def _as_formula(text: str) -> str:
    """Return a text with formulas in it as one formula."""
    parts = text.split("$")
    if len(parts) == 1 and "\\" in text:
        return text
    formula = "".join(part if index % 2 else _in_text(part) for index, part in enumerate(parts))
    return re.sub(r"^\\text\{ | (?=\}$)", lambda found: found[0].strip(), formula)


def _in_text(prose: str) -> str:
    return _PROSE.sub(lambda words: rf"\text{{ {words[0]} }}", prose)


def _with_cases(text: str) -> str:
    """Return "A if C, B otherwise", and A (C) and B (D) on lines of their own, as cases; nothing for anything else."""
    formula = strip_stops(text.replace("$", ""))
    lines = [_ON_A_LINE.fullmatch(line.strip()) for line in formula.splitlines()]
    rows = [(line[1], line[2]) for line in lines if line is not None]
    if len(rows) == len(lines) > 1:
        return _cases(rows)
    parts = split_top_level(formula)
    if len(parts) != 2 or not _IF.search(parts[0]) or not _OTHERWISE.search(parts[1]):
        return ""
    name = _NAME.match(parts[0])
    first, condition = _IF.split(parts[0][name.end() if name else 0 :], maxsplit=1)
    return (name[0] if name else "") + _cases([(first, condition)], _OTHERWISE.sub("", parts[1]))


def _cases(rows: list[tuple[str, str]], otherwise: str = "") -> str:
    lines = [rf"{value.strip()} & {_condition(condition.strip())}" for value, condition in rows]
    lines += [rf"{otherwise.strip()} & \text{{otherwise}}"] if otherwise else []
    return r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}"


def _condition(text: str) -> str:
    """Return "if n = 1" with the formula outside of the words, "if n is odd" as words."""
    return rf"\text{{if }} {text}" if re.search(r"[=<>\\]", text) else rf"\text{{if {text}}}"
