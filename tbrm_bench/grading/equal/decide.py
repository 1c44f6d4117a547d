r"""Is this answer the gold, or one of its alternatives? The way into `equivalence`, here and in a worker.

    decide("0.5", Gold(("\\frac12",), alternatives=(("50\\%",),)))    (True, "rational")

The rules decide for each list of answers alone. One that accepts is enough; a rejection is by the rule of the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tbrm_bench.grading.equal.equivalence import Question, Undecided, decide_fast, decide_fully
from tbrm_bench.records import DEFAULT_POLICY, Gold, GradingPolicy


def decide(answer: str, gold: Gold, policy: GradingPolicy = DEFAULT_POLICY) -> tuple[bool | None, str] | Undecided:
    """Return (equal, rule), or the question for a worker, as `decide_fast` does for a gold without alternatives."""
    if not gold.alternatives:
        return decide_fast(answer, gold, policy)
    verdicts = [decide_fast(answer, one, policy) for one in gold.each()]
    decided = [verdict for verdict in verdicts if not isinstance(verdict, Undecided)]
    questions = [verdict.question for verdict in verdicts if isinstance(verdict, Undecided)]
    if accepted := [verdict for verdict in decided if verdict[0]]:
        return accepted[0]
    if not questions:
        return next((verdict for verdict in decided if verdict[0] is None), decided[0])
    requests = [question.request for question in questions]
    return Undecided(Question({"op": "any", "requests": requests}, symbolic=any(one.symbolic for one in questions)))


def decide_any(requests: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    """Answer questions about one answer and several golds in a worker: the acceptance, else what is open, else no."""
    verdicts = []
    for request in requests:
        verdicts.append(decide_fully(dict(request)))
        if verdicts[-1][0]:
            return verdicts[-1]
    return next((verdict for verdict in verdicts if verdict[0] is None), verdicts[0])
