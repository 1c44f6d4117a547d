"""One request to a worker: what is asked, and the verdict once it is reached.

    {"op": "grade", "answer": "0.5", "gold": GOLD}                          the fast rules have left it open
    {"op": "grade", "text": "so \\\\boxed{0.5}", "finish_reason": "stop", "strict_boxed": false, "gold": GOLD}
    {"op": "equal", "left": "1/2", "right": "0.5"}                          do these two vote together?
    {"op": "second", "name": "math-verify", "text": "...", "gold": ["1/2"], "finish_reason": "stop"}

GOLD is [answers, kind, abs_tolerance, rel_tolerance, unit]. Verdicts are cached by (gold, answer), the least recently
used go first; the rules do not change while a process lives.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from tbrm_bench.grading import equivalence, second, votes
from tbrm_bench.grading.extract import extract
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS
from tbrm_bench.records import Gold

MAX_CACHED = 10_000
NO_ANSWER = "no_answer:"  # before the step of extraction that found none

_cache: OrderedDict[tuple[Gold, str], tuple[bool, str]] = OrderedDict()


def pack_gold(gold: Gold) -> list[Any]:
    """Return a gold as JSON holds it."""
    return [gold.answers, gold.kind, gold.abs_tolerance, gold.rel_tolerance, gold.unit]


class Judge:
    """Reaches one verdict in two steps, the second of which may take long or end the process."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        """Decide nothing yet."""
        self.request = request
        self.verdict: bool | None = None
        self.rule = ""
        self.detail: Any = request.get("answer")  # the answer as extracted; of a second grader, what it read
        self.needs_sympy = bool(request.get("symbolic"))

    def decide_fast(self) -> bool:
        """Take the first step of a whole completion, which is all that most need; return whether it was enough."""
        if self.request["op"] != "grade" or "text" not in self.request:
            return False
        finish_reason, strict_boxed = self.request["finish_reason"], self.request["strict_boxed"]
        found = extract(self.request["text"], finish_reason=finish_reason, strict_boxed=strict_boxed)
        self.detail = found.answer
        if found.answer is None:
            self.rule = NO_ANSWER + found.source
            return True
        gold = _gold(self.request["gold"])
        known = _cache.get((gold, found.answer))
        if known is not None:
            _cache.move_to_end((gold, found.answer))
            self.verdict, self.rule = known
            return True
        verdict = equivalence.decide_fast(found.answer, gold)
        if isinstance(verdict, equivalence.Undecided):
            self.needs_sympy = verdict.question.symbolic
            return False
        self._decide(verdict)
        return True

    def load_sympy(self) -> None:
        """Import SymPy and math-verify, which takes a second."""
        equivalence.load_symbolic()

    def decide_fully(self) -> None:
        """Take the second step."""
        request = self.request
        if request["op"] == "second":
            self.verdict, self.rule, self.detail = second.ask(request)
        elif request["op"] == "equal":
            self.verdict, self.rule = votes.equal_in_worker(request["left"], request["right"])
        else:
            question = {"answer": self.detail, "gold": dataclasses.asdict(_gold(request["gold"]))}
            self._decide(equivalence.decide_fully(question))

    def _decide(self, verdict: tuple[bool | None, str]) -> None:
        self.verdict, self.rule = verdict
        if self.verdict is not None and "text" in self.request and len(self.detail) <= MAX_ANSWER_CHARS:
            _cache[_gold(self.request["gold"]), self.detail] = (self.verdict, self.rule)
            if len(_cache) > MAX_CACHED:
                _cache.popitem(last=False)


def _gold(fields: Sequence[Any]) -> Gold:
    return Gold(tuple(fields[0]), *fields[1:])
