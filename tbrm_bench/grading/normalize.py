"""From what a dataset calls its answer to the `answers` of a Gold, by a rule that the task's TOML names.

Golds come as padded integers, as floats, as LaTeX, as Python source. Each rule below undoes what one source does to its
golds and nothing else; a wrong gold is the business of a task's errata. docs/grading.md lists the rules.

Examples: ("073", "integer") -> ("73",); ("2.5e7", "minerva") -> ("2.5 \\times 10^{7}",);
(["$3$,$-4$."], "olympiad_list") -> ("3", "-4").
"""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.find.extract import boxed_content
from tbrm_bench.grading.read.imo_golds import imo_answers
from tbrm_bench.grading.read.latex import split_top_level, strip_stops
from tbrm_bench.missing import present, spells_missing


def normalize_gold(raw: Any, rule: str) -> tuple[str, ...]:
    """Return the answers that a right completion must give, in any order, each as the grader reads it.

    `raw` is the dataset's value: a string, a number, or a list of them, whose missing members are left out. Raises
    UserError for an unknown rule, for a value that is missing and for one that the rule cannot read.
    """
    check_rule(rule)
    answers = RULES[rule](_checked(raw))
    if not answers:
        raise UserError(f"gold {raw!r} is empty after the normalisation {rule!r}; add an erratum for its row")
    return answers


def check_rule(rule: str, *, where: str = "") -> None:
    """Raise UserError for a rule that is unknown, with the nearest one; `where` is the place that names it."""
    if rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; rules: {', '.join(sorted(RULES))}"
        raise UserError(f"{where}unknown gold normalisation {rule!r}{hint}")


def _checked(raw: Any) -> Any:
    """Return a gold that is present and of a type that golds have; raises UserError for any other."""
    gold = present(raw)
    if gold is None:
        raise UserError("the gold is empty (null or NaN); every row needs one")
    for part in gold if isinstance(gold, list) else [gold]:
        if spells_missing(part):
            raise UserError(
                f"the gold is the text {part!r}, as a missing value is written; if it is the answer, write "
                f"\\text{{{part.strip()}}}"
            )
        if not isinstance(part, str | Real | Decimal) or part in (math.inf, -math.inf):
            raise UserError(f"the gold {gold!r} is not a string, a number or a list of them"[:200])
    return gold


def _integer(raw: Any) -> tuple[str, ...]:
    text = str(raw).strip().strip("$").replace(",", "")
    if not re.fullmatch(r"[+-]?\d{1,1000}(\.0*)?", text):
        raise UserError(f"gold {raw!r} is not an integer, which the normalisation 'integer' asks for")
    return (str(int(text.partition(".")[0])),)


def _latex(raw: Any) -> tuple[str, ...]:
    text = _as_text(raw)
    text = re.sub(r"(?<=\d),\\!\s*(?=\d{3})", "", text)
    if re.fullmatch(r"(\\?\$)?\s*-?\d{1,3}(,\d{3})+(\.\d+)?", text):
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
    # "f(x)=ax+b, where b is any integer": what follows explains the letters and is not another answer.
    text = re.split(r",?\s*\bwhere\b", text, maxsplit=1)[0]
    text = re.sub(r"\\quad\b", " ", text)
    # An interval whose "t \in" was lost on the way: t(0,4] is not a product.
    text = re.sub(r"^\s*[a-z]\s*(?=\([^()\[\]]*,[^()\[\]]*\]\s*$)", "", text)
    text = re.sub(r"^\s*([a-z])\s*=\s*(?=.*,)(?!.*=)", "", text)
    return tuple(" ".join(part.split()) for part in split_top_level(strip_stops(text), ",;"))


def _gsm8k(raw: Any) -> tuple[str, ...]:
    _, mark, answer = _as_text(raw).rpartition("####")
    if not mark:
        raise UserError(f"gold {raw!r:.60} has no '####', after which the normalisation 'gsm8k' looks for the answer")
    return _latex(answer.strip().removesuffix("."))


def _imo(raw: Any) -> tuple[str, ...]:
    return imo_answers(", ".join(map(_number_text, raw)) if isinstance(raw, list) else _number_text(raw))


def _as_text(raw: Any) -> str:
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        raw = ",".join(map(_number_text, raw))
    text = _number_text(raw).strip()
    if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text[1:-1] and text[-2] != "\\":
        text = text[1:-1].strip()
    return text


def _number_text(raw: Any) -> str:
    """Return a number as people write it, 27 for 27.0, and a text as it is."""
    if isinstance(raw, float | Decimal) and raw % 1 == 0:
        return str(int(raw))
    return f"{raw.numerator}/{raw.denominator}" if isinstance(raw, Fraction) else str(raw)


RULES: dict[str, Callable[[Any], tuple[str, ...]]] = {
    "gsm8k": _gsm8k,
    "imo": _imo,
    "integer": _integer,
    "latex": _latex,
    "minerva": _minerva,
    "olympiad_list": _olympiad_list,
}
