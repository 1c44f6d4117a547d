r"""Answers that a problem's own scorer judges, and not the rules: those to reasoning-gym's problems.

    "... so \boxed{\text{up up right up}}"    answer "up up right up"    score 1.0    correct

The scorer runs in worker processes (see `gym_scorer`) with limits of their own. A score of 1 is `correct`, any other
`wrong`. What a gold says is data alone: which code runs is decided here, whoever wrote the run.
"""

import hashlib
import importlib.util
import re

from tbrm_bench.errors import MissingExtra
from tbrm_bench.grading.equal.equivalence import Question, Undecided
from tbrm_bench.records import Gold

SCORER = "tbrm_bench.grading.workers.gym_scorer:score"
MEMORY_LIMIT_MB = 4096  # reasoning-gym brings NumPy and Matplotlib, which reserve more than they use
MAX_SCORED_CHARS = 10_000
_WRAPPED = re.compile(r"\\(?:text|texttt|textbf|mathrm|mathtt|mbox)\s*\{([^{}]*)\}")
_ARROW = re.compile(r"\\(?:rightarrow|longrightarrow|to)(?![a-zA-Z])")


def require_gym() -> None:
    """Raise MissingExtra without the package that makes these problems and scores their answers."""
    if importlib.util.find_spec("reasoning_gym") is None:
        raise MissingExtra("reasoning-gym", "reasoning-gym")


def ask_scorer(answer: str, gold: Gold) -> tuple[bool, str] | Undecided:
    """Return (False, rule) for an answer that is too long, else the question for a worker; as `decide_fast` does."""
    given = plain(answer)
    if len(given) > MAX_SCORED_CHARS:
        return False, "too_long"
    request = {"op": "score", "scorer": SCORER, "given": {"problem": gold.scorer, "answer": given}}
    return Undecided(Question(request, symbolic=False))


def own_answer(gold: Gold) -> Question:
    """Return the question what a problem's scorer gives the problem's own answer."""
    return Question(
        {"op": "score", "scorer": SCORER, "given": {"problem": gold.scorer, "answer": None}}, symbolic=False
    )


def plain(answer: str) -> str:
    r"""Return an answer as the scorers read it: `\text{}` and its like taken off, arrows as `→`, no `$` around it."""
    bare = _ARROW.sub("→", _WRAPPED.sub(r"\1", answer.strip().strip("$")))
    return bare.replace(r"\ ", " ").replace(r"\_", "_").strip()


def fingerprint(question: str) -> str:
    """Return a digest by which a problem that is generated again is recognised."""
    return hashlib.blake2b(question.encode(), digest_size=8).hexdigest()
