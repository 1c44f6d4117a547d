"""From what was found and decided to a Grade: one place where statuses are given.

| found                                                       | status    |
|-------------------------------------------------------------|-----------|
| an answer, equal to the gold                                | correct   |
| an answer, not equal                                        | wrong     |
| an answer that kept the grader from a verdict               | wrong     |
| no answer, the completion ended                             | no_answer |
| no answer, the completion hit the cap                       | truncated |
| a gold that cannot be judged, a grader that failed          | error     |

What the answer caused is wrong, by the rule of the limit that it exceeded or of the failure that it caused
(`workers.blame` finds out), and rates count it apart, under `timeout`. As a status `timeout` is given by second graders
alone, and stored in runs that graders up to tbrm-2 have graded.
"""

from tbrm_bench.grading.find.extract import Extraction
from tbrm_bench.records import FinishReason, Grade, Status

LIMIT_RULES = ("time_limit", "memory_limit", "recursion_limit", "too_large")
_FAILURES = ("undefined", "worker_crashed")


def grade_without_answer(found: Extraction, finish_reason: FinishReason) -> Grade:
    """Return the grade of a completion without a final answer; the rule is the step of extraction that said so."""
    status = Status.TRUNCATED if finish_reason == "length" else Status.NO_ANSWER
    return Grade(status, None, found.source)


def grade_of(answer: str, verdict: bool | None, rule: str) -> Grade:
    """Return the grade of an answer; a verdict of None is an error, or a timeout of a second grader, by its rule."""
    if verdict is None:
        return Grade(Status.TIMEOUT if rule in LIMIT_RULES else Status.ERROR, answer, rule)
    return Grade(Status.CORRECT if verdict else Status.WRONG, answer, rule)


def counted_as(status: Status, rule: str) -> Status:
    """Return the status that rates count a verdict under: `timeout` for an answer that kept the grader from one."""
    no_verdict = rule in LIMIT_RULES or rule in _FAILURES or rule.startswith("exception:")
    return Status.TIMEOUT if status is Status.WRONG and no_verdict else status
