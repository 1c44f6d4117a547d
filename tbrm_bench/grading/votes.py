"""Classes of equal answers (working skeleton)."""

from collections.abc import Callable, Sequence

from tbrm_bench.grading.equivalence import Question, Undecided, decide_fast
from tbrm_bench.grading.process import Answer
from tbrm_bench.records import Gold


def classify(answers: Sequence[str], ask: Callable[[Question], Answer]) -> list[int]:
    """Return the class of each answer."""
    heads: list[str] = []
    labels = []
    for answer in answers:
        for label, head in enumerate(heads):
            verdict = decide_fast(answer, Gold((head,)))
            equal = ask(verdict.question)[0] if isinstance(verdict, Undecided) else verdict[0]
            if equal:
                labels.append(label)
                break
        else:
            labels.append(len(heads))
            heads.append(answer)
    return labels
