"""From what a dataset calls its answer to the `answers` of a Gold, by a rule that the task's TOML names.

Golds come as padded integers, as floats, as LaTeX, as Python source. Each rule below undoes what one source does to its
golds and nothing else; a wrong gold is the business of a task's errata. docs/grading.md lists the rules.

Examples: ("073", "integer") -> ("73",); ("2.5e7", "minerva") -> ("2.5 \\times 10^{7}",);
(["$3$,$-4$."], "olympiad_list") -> ("3", "-4").
"""

import difflib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.extract import boxed_content
from tbrm_bench.grading.latex import split_top_level, strip_stops


def normalize_gold(raw: Any, rule: str) -> tuple[str, ...]:
    """Return the answers that a right completion must give, in any order, each as the grader reads it.

    `raw` is the dataset's value: a string, a number, or a list of strings. Raises UserError for an unknown rule and for
    a value that the rule cannot read.
    """
    if rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; rules: {', '.join(sorted(RULES))}"
        raise UserError(f"unknown gold normalisation {rule!r}{hint}")
    answers = RULES[rule](raw)
    if not answers:
        raise UserError(f"gold {raw!r} is empty after the normalisation {rule!r}; add an erratum for its row")
    return answers


def _integer(raw: Any) -> tuple[str, ...]:
    text = str(raw).strip().strip("$").replace(",", "")
    if not re.fullmatch(r"[+-]?\d{1,1000}(\.0*)?", text):
        raise UserError(f"gold {raw!r} is not an integer, which the normalisation 'integer' asks for")
    return (str(int(text.partition(".")[0])),)


def _latex(raw: Any) -> tuple[str, ...]:
    text = _as_text(raw)
    text = re.sub(r"(?<=\d),\\!\s*(?=\d{3})", "", text)
    if re.fullmatch(r"(\\\$)?\s*-?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return (text.replace(",", ""),)
    return tuple(split_top_level(text))


def _minerva(raw: Any) -> tuple[str, ...]:
    text = _as_text(raw)
    if r"\boxed" in text:
        text = boxed_content(text) or ""
    text = " ".join(text.replace("$", " ").split())
    text = re.sub(r"\bnp\.(arc)?(sin|cos|tan|log|exp|sqrt)\b", r"\\\1\2", text)
    text = re.sub(r"\\exp\s*\{([^{}]*)\}", lambda found: f"e^{{{found[1].replace('*', ' ')}}}", text)
    text = re.sub(r"^\+", "", text)
    text = re.sub(r"(\d)\.(?=[^\d]|$)", r"\1", text)
    quotient = re.fullmatch(r"(-?)(\d+)/(\d+)", text)
    if quotient:
        return (f"{quotient[1]}\\frac{{{quotient[2]}}}{{{quotient[3]}}}",)
    scientific = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)[eE]([+-]?\d+)", text)
    if scientific:
        return (f"{scientific[1]} \\times 10^{{{int(scientific[2])}}}",)
    return tuple(split_top_level(text))


def _olympiad_list(raw: Any) -> tuple[str, ...]:
    text = _as_text(raw).replace("$", " ")
    # "f(x)=ax+b, where b is any integer": what follows explains the letters and is no further answer.
    text = re.split(r",?\s*\bwhere\b", text, maxsplit=1)[0]
    text = re.sub(r"\\quad\b", " ", text)
    # An interval whose "t \in" was lost on the way: t(0,4] is no product.
    text = re.sub(r"^\s*[a-z]\s*(?=\([^()\[\]]*,[^()\[\]]*\]\s*$)", "", text)
    text = re.sub(r"^\s*([a-z])\s*=\s*(?=.*,)(?!.*=)", "", text)
    return tuple(" ".join(part.split()) for part in split_top_level(strip_stops(text), ",;"))


def _as_text(raw: Any) -> str:
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        raw = ",".join(str(part) for part in raw)
    text = str(raw).strip()
    if isinstance(raw, float) and raw.is_integer():
        text = str(int(raw))
    if isinstance(raw, Fraction):
        text = f"{raw.numerator}/{raw.denominator}"
    if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text[1:-1] and text[-2] != "\\":
        text = text[1:-1].strip()
    return text


RULES: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "integer": _integer,
    "latex": _latex,
    "minerva": _minerva,
    "olympiad_list": _olympiad_list,
}
