r"""Rewards for reasoning-gym's problems: the answer found by the bench, the score by the dataset's own scorer.

    "... so \boxed{\text{up up right up}}"    answer "up up right up"    score 1.0    correct, reward 1.0

The scorer runs in the grader's worker processes, with their limits of time and memory. A score of 1 is `correct`, any
other `wrong`; the reward is the score itself, which some datasets give in parts. Limits and failures of the scorer are
`timeout` and `error`, as ever: no reward.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from tbrm_bench.grading.equivalence import Answer, Question
from tbrm_bench.grading.extract import extract
from tbrm_bench.grading.verdicts import grade_of, grade_without_answer
from tbrm_bench.grading.workers import Workers
from tbrm_bench.protocols import load_protocol
from tbrm_bench.records import Gold, ProblemKey, Sample
from tbrm_train.data import NUM_GENERATED
from tbrm_train.gym import recreation
from tbrm_train.rewards import Rewarded, reward_of
from tbrm_train.rl_recipe import RlRecipe

SCORER = "tbrm_train.gym_scorer:score"
MEMORY_LIMIT_MB = 4096  # reasoning-gym brings NumPy and Matplotlib, which reserve more than they use
MAX_ANSWER_CHARS = 10_000
_WRAPPED = re.compile(r"\\(?:text|texttt|textbf|mathrm|mathtt|mbox)\s*\{([^{}]*)\}")
_ARROW = re.compile(r"\\(?:rightarrow|longrightarrow|to)(?![a-zA-Z])")


class GymRewarder:
    """Scores batches of samples; a context manager that kills its workers at the end."""

    def __init__(self, recipe: RlRecipe) -> None:
        """Start nothing yet."""
        self.prompts, self.seed = recipe.prompts, recipe.data_seed
        self.strict_boxed = load_protocol(recipe.prompts.protocol).strict_boxed
        limit_s = recipe.rewards.time_limit_s
        self._workers = Workers(recipe.rewards.workers, time_limit_s=limit_s, memory_limit_mb=MEMORY_LIMIT_MB)

    def grade(self, samples: Sequence[Sample], golds: Mapping[ProblemKey, Gold]) -> list[Rewarded]:
        """Return one verdict a sample, in the samples' order; the golds are not looked at."""
        asked = [self._ask(sample) for sample in samples]
        return [item if isinstance(item, Rewarded) else _rewarded(*item) for item in asked]

    def _ask(self, sample: Sample) -> "Rewarded | tuple[Sample, str, Future[Answer]]":
        found = extract(sample.text, finish_reason=sample.finish_reason, strict_boxed=self.strict_boxed)
        if found.answer is None:
            grade = grade_without_answer(found, sample.finish_reason)
            return Rewarded(sample, grade, reward_of(grade))
        answer = plain(found.answer)
        if len(answer) > MAX_ANSWER_CHARS:
            grade = grade_of(answer[:MAX_ANSWER_CHARS], False, "too_long")
            return Rewarded(sample, grade, reward_of(grade))
        given = recreation(
            ProblemKey(*sample.key[:2]),
            self.prompts.options,
            source=self.prompts.source,
            count=self.prompts.num_prompts or NUM_GENERATED,
            seed=self.seed,
        )
        request = {"op": "score", "scorer": SCORER, "given": given | {"answer": answer}}
        future: Future[Answer] = Future()
        self._workers.submit(Question(request, symbolic=False), future.set_result)
        return sample, answer, future

    def __enter__(self) -> Self:
        """Return the rewarder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the workers."""
        self._workers.close()


def plain(answer: str) -> str:
    r"""Return an answer as the scorers read it: `\text{}` and its like taken off, arrows as `→`, no `$` around it."""
    bare = _ARROW.sub("→", _WRAPPED.sub(r"\1", answer.strip().strip("$")))
    return bare.replace(r"\ ", " ").replace(r"\_", "_").strip()


def _rewarded(sample: Sample, answer: str, future: "Future[Answer]") -> Rewarded:
    found = future.result()
    grade = grade_of(answer, found.verdict, found.rule)
    score = (found.detail or {}).get("score")
    return Rewarded(sample, grade, reward_of(grade) if score is None else float(score))
