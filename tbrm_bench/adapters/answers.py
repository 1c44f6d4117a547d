r"""What other programs call the answer, as a Gold; and their completions, graded in one pool that this process shares.

gold_from("so it is \\boxed{0.5}.")                          Gold(("0.5",))     a solution: its last box
gold_from("4, 9")                                            Gold(("4", "9"))   both are wanted
gold_from({"answers": "1/2", "alternatives": ["50\\%"]})     any one of the two; other keys are a Gold's fields
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tbrm_bench.config import from_table
from tbrm_bench.errors import UserError
from tbrm_bench.grading import GraderPool, normalize_gold
from tbrm_bench.grading.find.extract import boxed_content
from tbrm_bench.grading.many import grade_in
from tbrm_bench.records import DEFAULT_POLICY, Gold, Grade, GradingPolicy, Status

NUM_WORKERS = 2
# What a row's gold is called, in order of preference; `solution` comes last, since it may be a whole one.
GOLD_COLUMNS = ("gold", "ground_truth", "answer", "solution")
GOLD_FIELDS = tuple(field.name for field in fields(Gold) if field.name not in ("answers", "alternatives", "scorer"))
_log = logging.getLogger("tbrm_bench")
_pool = GraderPool(NUM_WORKERS)  # nothing starts before it is needed; a forked child gets its own


@dataclass(frozen=True, slots=True)
class Marking:
    """How completions are marked; `policy` may be a table of switches, `gold_rule` is one of docs/grading.md."""

    strict_boxed: bool = False
    policy: GradingPolicy | Mapping[str, bool] | None = None
    gold_rule: str = "latex"

    def grades(self, pairs: Iterable[tuple[str, Any]]) -> list[Grade]:
        """Return the verdict on each (completion, what `gold_from` takes), in order; a failed grader is logged."""
        policy = self._policy()
        verdicts = [
            _pool.verdict(text, gold_from(gold, self.gold_rule), strict_boxed=self.strict_boxed, policy=policy)
            for text, gold in pairs
        ]
        grades = [grade_in(verdict) for verdict in verdicts]
        for grade in grades:
            if grade.status is Status.ERROR:
                _log.warning("the grader could not judge %.80r: %s", grade.extracted, grade.rule)
        return grades

    def _policy(self) -> GradingPolicy:
        if isinstance(self.policy, GradingPolicy):
            return self.policy
        return DEFAULT_POLICY if self.policy is None else from_table(dict(self.policy), GradingPolicy, place="policy")


def score_of(grade: Grade) -> float | None:
    """Return 1 for a correct answer, 0 for any other, None where the grader itself failed."""
    return None if grade.status is Status.ERROR else float(grade.status is Status.CORRECT)


def gold_from(value: Any, gold_rule: str = "latex", *, alternatives: Sequence[Any] = ()) -> Gold:
    """Return an answer as the grader reads it: a text, a number, a list (all are wanted), a table of a Gold's fields.

    Raises UserError for what is missing, for what the rule cannot read and for a key that is none.
    """
    if isinstance(value, Gold):
        return value
    given: dict[str, Any] = {}
    if isinstance(value, Mapping):
        given = {name: field for name, field in value.items() if field is not None}  # Arrow fills what a row lacks
        value, alternatives = given.pop("answers", None), given.pop("alternatives", alternatives)
    if unknown := [name for name in given if name not in GOLD_FIELDS]:
        raise UserError(
            f"the gold has the key {unknown[0]!r}; it may have {', '.join(('answers', 'alternatives', *GOLD_FIELDS))}"
        )
    answers, *others = (normalize_gold(_unboxed(one, gold_rule), gold_rule) for one in (value, *alternatives))
    return Gold(answers, alternatives=tuple(dict.fromkeys(one for one in others if one != answers)), **given)


def _unboxed(value: Any, gold_rule: str) -> Any:
    """Return an answer without what only its container adds: the solution around a box, the array around a list."""
    if not isinstance(value, str):
        return value.tolist() if hasattr(value, "tolist") else value
    if gold_rule != "gsm8k" and value.strip().rfind("####") > 0:
        raise UserError(
            f"the gold {value!r:.60} is a solution; use gold_rule='gsm8k', which reads what follows its '####'"
        )
    if r"\boxed" not in value:
        return value
    if (answer := boxed_content(value)) is None:
        raise UserError(f"the gold {value!r:.60} is a solution whose last box is not closed; fix the row")
    return answer
