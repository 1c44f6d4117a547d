"""From what was found and decided to a Grade: one place where statuses are given.

| found                                   | status    |
|-----------------------------------------|-----------|
| an answer, equal to the gold            | correct   |
| an answer, not equal                    | wrong     |
| no answer, the completion ended         | no_answer |
| no answer, the completion hit the cap   | truncated |
| a limit of time or memory               | timeout   |
| anything else that kept us from judging | error     |
"""

from tbrm_bench.grading.find.extract import Extraction
from tbrm_bench.records import FinishReason, Grade, Status

LIMIT_RULES = ("time_limit", "memory_limit", "recursion_limit", "too_large")


def grade_without_answer(found: Extraction, finish_reason: FinishReason) -> Grade:
    """Return the grade of a completion without a final answer; the rule is the step of extraction that said so."""
    status = Status.TRUNCATED if finish_reason == "length" else Status.NO_ANSWER
    return Grade(status, None, found.source)


def grade_of(answer: str, verdict: bool | None, rule: str) -> Grade:
    """Return the grade of an answer; a verdict of None is a timeout or an error, by its rule."""
    if verdict is None:
        return Grade(Status.TIMEOUT if rule in LIMIT_RULES else Status.ERROR, answer, rule)
    return Grade(Status.CORRECT if verdict else Status.WRONG, answer, rule)
