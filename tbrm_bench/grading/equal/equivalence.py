"""Is this answer equal to the gold? The fast rules first, then, in a worker, high precision, then SymPy.

    string     the same text once spaces are gone
    integer    both are digits
    choice     a letter; text: words
    ...        what `structure` finds for the shapes of both
    sympy      math-verify, for integrals, sums and limits, which `parse` does not read

`decide_fast` never takes long and never starts anything: it returns a verdict, or the question for a worker.
`decide_fully` answers it there. An answer that `parse` cannot read, and that is not such a construct, is wrong.

Example: decide_fast("0.5", Gold(("\\\\frac12",))) is (True, "rational");
of 2\\sqrt{3} and \\sqrt{12} a worker decides.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tbrm_bench.grading.equal.known_gold import INTEGER, ReadGold, read_gold, unspaced
from tbrm_bench.grading.equal.membership import by_membership
from tbrm_bench.grading.equal.structure import Comparer
from tbrm_bench.grading.equal.symbolic import side_by_side
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.grading.numbers.numeric import Verdict
from tbrm_bench.grading.numbers.valued import lacks_value
from tbrm_bench.grading.read import words
from tbrm_bench.grading.read.constructs import has_construct, is_read_in_full
from tbrm_bench.grading.read.latex import clean
from tbrm_bench.grading.read.parse import readings
from tbrm_bench.grading.read.tree import Tree, symbols
from tbrm_bench.grading.read.units import names_a_unit
from tbrm_bench.grading.read.whole import without_dots
from tbrm_bench.records import DEFAULT_POLICY, Gold, GradingPolicy

_SCIENTIFIC = re.compile(r"10\s*\^|\d[eE][+-]?\d")
_BARE_UNIT = re.compile(
    r"(?<=[\d}])\s*(?:\\(?:mathrm|rm)\s*\{\s*)?([a-zA-Z]+(?:\s*/\s*[a-zA-Z]+)?)(?:\^\{?-?\d\}?)?\}?$"
)
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_LABELLED = re.compile(r"(?:\\text\s*\{\s*)?\([A-J]\)\s*\}?\s*(\S.*)")
EMPTY: Tree = ("c", "empty")
_POINT = re.compile(r"[A-Z]\s*\(")


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a worker is asked; `symbolic` when it will need SymPy."""

    request: dict[str, Any]
    symbolic: bool


class Answer(NamedTuple):
    """A worker's verdict: equal, not equal, or undecided (None) for the reason that `rule` names."""

    verdict: bool | None
    rule: str
    detail: Mapping[str, Any] | None = None  # what a second grader read


class Undecided(NamedTuple):
    """The fast rules cannot tell; a worker can."""

    question: Question


def decide_fast(answer: str, gold: Gold, policy: GradingPolicy = DEFAULT_POLICY) -> tuple[bool | None, str] | Undecided:
    """Return (equal, rule), or the question for a worker. Costs microseconds, at most a few milliseconds.

    A gold without an answer is (None, "gold:empty"). One beyond the limits is only compared as text: other answers to
    it are (None, "gold:too_long").
    """
    if not any(map(str.strip, gold.answers)):
        return None, "gold:empty"
    if sum(map(len, gold.answers)) > MAX_ANSWER_CHARS:
        same = unspaced(answer) == unspaced(",".join(gold.answers))
        return (True, "too_long") if same else (None, "gold:too_long")
    if len(answer) > MAX_ANSWER_CHARS:
        return unspaced(answer) == unspaced(",".join(gold.answers)), "too_long"
    known = read_gold(gold, policy)
    cleaned = _cleaned(answer, known)
    if unspaced(cleaned) == known.text:
        return True, "string"
    if known.integer is not None and not known.policy.is_tolerant and INTEGER.fullmatch(cleaned):
        return int(cleaned) == known.integer, "integer"
    verdict, rule = by_membership(answer, known.described) if known.described is not None else (None, "")
    if verdict is None:
        verdict, rule = _by_words(cleaned, known)
    if verdict is None and known.described is not None and known.described.worded:
        verdict, rule = False, "described"  # "m is prime or 1" has no other reading
    if verdict is None:
        try:
            verdict, rule = _by_shape(cleaned, known, precise=False)
            if verdict is False and (wanted := _as_wanted(cleaned, known)) is not None:
                verdict, rule = _by_shape(wanted, known, precise=False)
        except Exception as error:  # noqa: BLE001  # a mistake of ours must not end a run; in a worker it becomes "error"
            verdict, rule = None, f"exception:{type(error).__name__}"
    if verdict is not None:
        return verdict, rule
    request = {"op": "grade", "answer": answer, "gold": gold.values(), "policy": dataclasses.asdict(policy)}
    return Undecided(Question(request, symbolic=rule == "symbolic"))


def decide_fully(request: dict[str, Any]) -> tuple[bool | None, str]:
    """Answer a question in a worker; (None, rule) when even that cannot tell."""
    gold = gold_in(request)
    known = read_gold(gold, GradingPolicy(**request["policy"]))
    verdict, rule = _by_shape(_cleaned(request["answer"], known), known, precise=True)
    if verdict is None and rule in ("symbolic", "undefined"):
        return side_by_side(request["answer"], gold, known)
    return verdict, rule


def gold_in(request: Mapping[str, Any]) -> Gold:
    """Return the gold of a question."""
    fields = request["gold"]
    alternatives = tuple(map(tuple, fields.get("alternatives", ())))
    return Gold(**{**fields, "answers": tuple(fields["answers"]), "alternatives": alternatives})


def _cleaned(answer: str, known: ReadGold) -> str:
    """Return the answer without typography."""
    cleaned = clean(answer)
    if known.policy.dotted_thousands:
        cleaned = without_dots(cleaned)
    return cleaned


def _as_wanted(cleaned: str, known: ReadGold) -> str | None:
    """Return the answer in the reading that only the gold makes likely; None if there is none.

    Where the gold is a quantity `5 m` is 5 metres, elsewhere m is a symbol; where it is a point `P(1, 2)` names one.
    """
    if known.trees is None or len(known.trees) != 1:
        return None
    if (labelled := _LABELLED.fullmatch(cleaned)) and words.choice(cleaned, with_text=True):
        return labelled[1]  # (A) 5
    if known.trees[0][0] == "br":
        return cleaned[1:].lstrip() if _POINT.match(cleaned) else None
    if known.trees[0][0] in ("+", "*") and "circ" in cleaned and "circ" not in known.text and symbols(known.trees[0]):
        return _DEGREES.sub("", cleaned)  # 180^\\circ - 2\\alpha for 180 - 2\\alpha
    tail = _BARE_UNIT.search(cleaned) if known.trees[0][0] == "q" else None
    if tail is None or not names_a_unit(tail[1]):
        return None
    return rf"{cleaned[: tail.start()]}\text{{ {tail[1]}}}{cleaned[tail.end(1) :].strip('}')}"


def _by_words(cleaned: str, known: ReadGold) -> Verdict:
    if known.digits is not None and words.plain(cleaned).upper() == known.digits and not cleaned.isdigit():
        return True, "base"  # 1A7 for 1A7_{16}
    if known.choice is not None:
        letter = words.choice(cleaned, with_text=True)
        return letter == known.choice, "choice"
    if known.letter is not None and not cleaned.isalpha() and words.choice(cleaned, with_text=True) == known.letter:
        return True, "choice"
    if known.heading is not None and words.choice(cleaned, with_text=False) == known.heading:
        return True, "choice"
    if known.words is not None and cleaned.rstrip(" }$").endswith("?") and "?" not in known.text:
        return False, "text"  # a question
    if known.words == words.NONE and "\\{" in cleaned:
        return readings(cleaned)[:1] == (EMPTY,), "text"  # {{}} has a member
    if known.words is not None:
        if words.meaning(cleaned) == known.words:
            return True, "text"
        if known.words == words.NONE and readings(cleaned)[:1] == (EMPTY,):
            return True, "text"
        if known.members is not None and words.members(cleaned) == known.members:
            return True, "text"
        if known.trees is None or known.trees[0][0] == "text":
            return (None if known.trees is None else False), "text"
    return None, ""


def _by_shape(cleaned: str, known: ReadGold, *, precise: bool) -> Verdict:
    preds = readings(cleaned)
    if known.trees is None or not preds:
        may_be = known.trees is None or has_construct(cleaned)
        return (None, "symbolic") if may_be and is_read_in_full(cleaned) else (False, "unreadable")
    comparer = Comparer(known.policy, precise=precise)
    verdict, rule = False, "unreadable"
    for pred in preds:
        own, own_rule = _with_a_value(pred, known.trees, comparer.answers(known.trees, pred), precise=precise)
        if own is True:
            return True, _spelling(own_rule, cleaned)
        if own is None or rule == "unreadable":
            verdict, rule = own, own_rule  # type: ignore[assignment]
    return verdict, rule


def _with_a_value(pred: Tree, golds: tuple[Tree, ...], verdict: Verdict, *, precise: bool) -> Verdict:
    """Return the verdict, unless the answer has no value: 0/0 is not 0, whatever is left of it when simplified."""
    if verdict[0] is False:
        return verdict
    lacks = lacks_value(pred, precise=precise)
    if lacks is False or any(lacks_value(gold, precise=precise) for gold in golds):
        return verdict
    return (False if lacks else None), "no_value"


def _spelling(rule: str, cleaned: str) -> str:
    return "scientific" if rule in ("integer", "rational") and _SCIENTIFIC.search(cleaned) else rule
