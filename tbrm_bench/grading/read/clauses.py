r"""Clauses behind the values of an answer that has several: each value without its domain, cases in words as cases.

    f(x)=0 \text{ for all } x, f(x)=x       f(x)=0 , f(x)=x
    1 \text{ if } n=2, \text{ else } 3       \begin{cases} 1 & \text{if } n=2 \\ 3 & \text{otherwise} \end{cases}
    a_{i,j}=i+j \text{ for all } i, j       a_{ij}=i+j

Every value of cases in words needs its condition; two values of which one has none are two values.
"""

import re

from tbrm_bench.grading.read.quantified import without_domain

MAX_CHARS = 600
_COMMA = r"(?<![\\\w{(,])\s*,(?![^(\[{]*[)\]}])"
_JOINT = re.compile(rf"(\\text\s*\{{\s*,?\s*(?:or|and)\s*\}}|{_COMMA}|\\(?:lor|vee)(?![a-zA-Z]))")
_INDEX_PAIR = re.compile(r"_\s*\{\s*([a-z])\s*,\s*([a-z])\s*\}")
_OF_INDICES = re.compile(
    r"(?P<kept>[a-z]_\{?[a-z]{1,2}\}?\s*=[^=]*?)[\s,]*\\text\s*\{\s*for all\s*\}\s*[a-z](?:\s*,\s*[a-z])?\s*"
)
_IF = r"\\text\s*\{\s*,?\s*(?:and\s+)?(?:if|when|for)\s*(?P<%s>[^{}]*)\}"
_OTHERWISE = r"\\text\s*\{\s*,?\s*(?:and\s+)?(?:otherwise|else)\s*,?\s*\}"
_VALUE = r"[^,{}=<>]*(?:\{[^{}]*\}[^{},=<>]*)*?"
_FORMULA = r"[^{}]*?(?:\{[^{}]*\}[^{}]*?)*?"
_SEPARATOR = r"[\s,;.]*(?:\\text\s*\{\s*,?\s*and\s*\}\s*)?"
_IF_OTHERWISE = re.compile(
    rf"(?P<one>{_VALUE})\s*{_IF % 'said'}(?P<formula>{_FORMULA}){_SEPARATOR}"
    rf"(?:{_OTHERWISE}\s*(?P<other>{_VALUE})|(?P<before>{_VALUE})\s*{_OTHERWISE})\s*"
)
_IF_IF = re.compile(
    rf"(?P<one>{_VALUE})\s*{_IF % 'said'}(?P<formula>{_FORMULA}){_SEPARATOR}"
    rf"(?P<other>{_VALUE})\s*{_IF % 'also'}(?P<formula_also>{_FORMULA})\s*"
)


def without_clauses(text: str) -> str:
    """Return an answer of several values without what is said of their domains, its cases in words as cases."""
    if len(text) > MAX_CHARS:
        return text
    if "_" in text:
        text = _INDEX_PAIR.sub(r"_{\1\2}", text)
        if (indexed := _OF_INDICES.fullmatch(text)) is not None:
            text = indexed["kept"]
    if "if" in text or "when" in text or "for" in text:
        text = _as_cases(text)
    if text.count("=") > 1 and "\\begin" not in text and ("for" in text or "where" in text or "with" in text):
        parts = _JOINT.split(text)
        text = "".join(part if index % 2 else without_domain(part) for index, part in enumerate(parts))
    return text


def _as_cases(text: str) -> str:
    if "\\begin" in text:
        return text
    if (found := _IF_OTHERWISE.fullmatch(text)) is not None:
        other = found["other"] if found["other"] is not None else found["before"]
        return _cases((found["one"], found["said"], found["formula"]), (other, None, ""))
    if (found := _IF_IF.fullmatch(text)) is not None:
        return _cases(
            (found["one"], found["said"], found["formula"]), (found["other"], found["also"], found["formula_also"])
        )
    return text


def _cases(*rows: tuple[str, str | None, str]) -> str:
    """Return cases; a condition of None is "otherwise"."""
    lines = []
    for value, said, formula in rows:
        formula = formula.strip().strip(",;.").strip()
        condition = r"\text{otherwise}" if said is None else rf"\text{{{f'if {said.strip()}'.strip()}}} {formula}"
        lines.append(f"{value.strip()} & {condition}")
    return r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}"
