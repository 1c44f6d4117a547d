"""Names of graders, as they are stored beside their verdicts: the version, and what a protocol asks of it.

tbrm-1                  the answer is searched for everywhere
tbrm-1+strict_boxed     only a box holds an answer
"""

from tbrm_bench.grading.grader import GRADER

STRICT_BOXED = "+strict_boxed"


def grader_name(*, strict_boxed: bool) -> str:
    """Return this version's name."""
    return f"{GRADER}{STRICT_BOXED}" if strict_boxed else GRADER


def is_strict_boxed(grader: str) -> bool:
    """Return whether a grader of this name, of any version, takes answers from boxes only."""
    return grader.endswith(STRICT_BOXED)
