r"""Rewards for reasoning-gym's problems: the bench extracts the answer, the dataset's own scorer scores it.

    "... so \boxed{\text{up up right up}}"    answer "up up right up"    score 1.0    correct, reward 1.0

The scorer runs in the grader's worker processes (see `tbrm_bench.grading.workers.scored`). A score of 1 is `correct`,
any other `wrong`; the reward is the score itself, for which some datasets give partial credit. An answer that makes
the scorer exceed a limit or raise an exception is `wrong` and earns 0; where the problem's own answer does so too,
that is an `error` without a reward.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from tbrm_bench.grading.equal.equivalence import Answer, Undecided
from tbrm_bench.grading.find.extract import extract
from tbrm_bench.grading.verdicts import grade_of, grade_without_answer
from tbrm_bench.grading.workers.blame import Blame
from tbrm_bench.grading.workers.queue import Workers
from tbrm_bench.grading.workers.scored import MAX_SCORED_CHARS, MEMORY_LIMIT_MB, ask_scorer, plain
from tbrm_bench.records import Gold, ProblemKey, Sample
from tbrm_bench.tasks.generators.gym import recreation
from tbrm_train.data.prompts import NUM_GENERATED
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.rollout.rewards import Rewarded, reward_of


class GymRewarder:
    """Scores batches of samples; a context manager that kills its workers at the end."""

    def __init__(self, recipe: RlRecipe) -> None:
        """Store the settings; nothing is started yet."""
        self.prompts, self.seed = recipe.prompts, recipe.data_seed
        self.settings = recipe.rewards
        limit_s = recipe.rewards.time_limit_s
        self._workers = Workers(recipe.rewards.workers, time_limit_s=limit_s, memory_limit_mb=MEMORY_LIMIT_MB)
        self._blame = Blame(self._workers.submit)

    def grade(self, samples: Sequence[Sample], golds: Mapping[ProblemKey, Gold]) -> list[Rewarded]:
        """Return one verdict per sample, in the order of the samples; the golds are not used."""
        asked = [self._ask(sample) for sample in samples]
        return [item if isinstance(item, Rewarded) else _rewarded(*item) for item in asked]

    def _ask(self, sample: Sample) -> "Rewarded | tuple[Sample, str, Future[Answer]]":
        found = extract(
            sample.text,
            finish_reason=sample.finish_reason,
            strict_boxed=self.settings.strict_boxed,
            answer_tags=self.settings.answer_tags,
        )
        if found.answer is None:
            grade = grade_without_answer(found, sample.finish_reason)
            return Rewarded(sample, grade, reward_of(grade))
        answer = plain(found.answer)[:MAX_SCORED_CHARS]
        scorer = recreation(
            ProblemKey(*sample.key[:2]),
            self.prompts.options,
            source=self.prompts.source,
            count=self.prompts.num_prompts or NUM_GENERATED,
            seed=self.seed,
        )
        gold = Gold((), scorer=scorer)
        asked = ask_scorer(found.answer, gold)
        if not isinstance(asked, Undecided):
            grade = grade_of(answer, *asked)
            return Rewarded(sample, grade, reward_of(grade))
        future: Future[Answer] = Future()
        question = asked.question
        self._workers.submit(question, lambda said: self._blame.settle(said, question, gold, future.set_result))
        return sample, answer, future

    def __enter__(self) -> Self:
        """Return the rewarder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the workers."""
        self._workers.close()


def _rewarded(sample: Sample, answer: str, future: "Future[Answer]") -> Rewarded:
    found = future.result()
    grade = grade_of(answer, found.verdict, found.rule)
    score = (found.detail or {}).get("score")
    return Rewarded(sample, grade, reward_of(grade) if score is None else float(score))
