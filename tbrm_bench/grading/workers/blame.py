r"""Why a verdict did not come: because of the answer, which is then wrong, or because of the gold or the grader.

    gold 7         answer \int_0^\infty e^{e^{e^x}} dx    time_limit    the gold alone has a value: wrong, time_limit
    gold \int_0^\infty e^{e^{e^x}} dx    answer 7         time_limit    so does the gold alone: error, gold:time_limit
    any            a worker that somebody killed          worker_died   error, worker_died

What an answer causes must cost it its reward: a policy that may leave its bad samples out of a training learns to. So a
worker is asked for the gold alone, under the same limits, and only what keeps it from that is no fault of the answer's.
It is asked for plain numbers too: where all workers hang, or the limit is too low for any verdict, that shows here.
The gold of a scorer is its own answer to its problem.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable

from tbrm_bench.grading.equal.equivalence import Answer, Question
from tbrm_bench.grading.workers.queue import Done
from tbrm_bench.grading.workers.scored import own_answer
from tbrm_bench.records import Gold

MAX_GOLDS = 10_000  # judged alone and remembered; the least recently judged go first
# What an answer cannot cause.
MACHINE_RULES = frozenset(("worker_died", "worker_starved", "worker_not_started", "pool_closed"))


class Blame:
    """Judges golds alone; callable from the threads of the workers."""

    def __init__(self, submit: "Callable[[Question, Done], None]") -> None:
        """`submit` queues a question for a worker and never waits."""
        self._submit = submit
        self._golds: OrderedDict[Gold, Answer] = OrderedDict()

    def settle(self, answer: Answer, question: Question, gold: Gold, done: Done) -> None:
        """Call `done` with the worker's answer to a question, after asking for the gold where there is no verdict.

        It is then False, by the rule of the limit or failure, where the answer is to blame; else it stays None.
        """
        if answer.verdict is not None or answer.rule in MACHINE_RULES:
            done(answer)
        elif (known := self._golds.get(gold)) is not None:
            done(_blamed(answer, known))
        else:
            self._submit(_alone(question, gold), lambda found: self._settled(answer, gold, found, done))

    def _settled(self, answer: Answer, gold: Gold, found: Answer, done: Done) -> None:
        if not is_passing(found.rule):
            self._golds[gold] = found
            if len(self._golds) > MAX_GOLDS:
                self._golds.popitem(last=False)
        done(_blamed(answer, found))


def is_passing(rule: str) -> bool:
    """Return whether what a rule names may be over when the same is asked again."""
    return rule in MACHINE_RULES or "exception:" in rule


def _alone(question: Question, gold: Gold) -> Question:
    """Return the question whether a gold can be judged at all."""
    if gold.scorer:
        return own_answer(gold)
    return Question({"op": "gold", "gold": dataclasses.asdict(gold)}, symbolic=question.symbolic)


def _blamed(answer: Answer, alone: Answer) -> Answer:
    if alone.verdict is not None:
        return Answer(False, answer.rule)
    return Answer(None, alone.rule if alone.rule in MACHINE_RULES else f"gold:{alone.rule}")
