"""Rewards: the verdicts of the bench's own grader, in workers that can be killed, counted by outcome.

    correct 1.0    wrong, no_answer, truncated 0.0    error: no reward, the trajectory is left out

What the answer caused costs the policy its reward, also where it kept the grader from a verdict: such an answer is
wrong. An error is what a broken gold or grader caused and not the policy's fault: it never becomes a silent 0. If
more than `max_failed_share` of a batch are errors, the run stops.

Two controls for tests of a training: `shuffle` permutes the rewards of a batch at random (a function of seed and
step), `flip` rewards wrong answers. Neither must learn.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tbrm_bench.errors import RunFailed
from tbrm_bench.grading import GraderPool
from tbrm_bench.grading.verdicts import counted_as
from tbrm_bench.records import Gold, Grade, ProblemKey, Sample, Status
from tbrm_train.recipes.rl_recipe import Rewards

MAX_RULES = 3  # that an error names


@dataclass(frozen=True, slots=True)
class Rewarded:
    """A graded sample; `reward` is in [0, 1], NaN for an error."""

    sample: Sample
    grade: Grade
    reward: float

    @property
    def decided(self) -> bool:
        """True if there is a reward to learn from."""
        return self.grade.status is not Status.ERROR


class Rewarder:
    """Grades batches of samples; a context manager that kills its workers at the end."""

    def __init__(self, settings: Rewards) -> None:
        """Store the settings; nothing is graded yet."""
        self.settings = settings
        self._pool = GraderPool(
            settings.workers,
            time_limit_s=settings.time_limit_s,
            strict_boxed=settings.strict_boxed,
            answer_tags=settings.answer_tags,
        )

    def grade(self, samples: Sequence[Sample], golds: Mapping[ProblemKey, Gold]) -> list[Rewarded]:
        """Return one verdict per sample, in the order of the samples."""
        for sample in samples:
            gold = golds[ProblemKey(*sample.key[:2])]
            self._pool.submit(sample.key, sample.text, gold, sample.finish_reason)
        grades = dict(self._pool.drain(wait=True))
        return [Rewarded(sample, grades[sample.key], reward_of(grades[sample.key])) for sample in samples]

    def __enter__(self) -> Self:
        """Return the rewarder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the workers."""
        self._pool.close()


def reward_of(grade: Grade) -> float:
    """Return 1 for a correct answer, 0 for any other, NaN for an error."""
    if grade.status is Status.ERROR:
        return float("nan")
    return 1.0 if grade.status is Status.CORRECT else 0.0


def settle(batch: Sequence[Rewarded], settings: Rewards, *, seed: int, step: int) -> tuple[list[int], list[float]]:
    """Return the indices of the decided samples of a batch, and the rewards to learn from: theirs, or a control's.

    Raises RunFailed if more than `max_failed_share` of the batch are errors.
    """
    decided = [index for index, item in enumerate(batch) if item.decided]
    failed = len(batch) - len(decided)
    if not decided or failed > settings.max_failed_share * len(batch):
        rules = Counter(item.grade.rule for item in batch if not item.decided)
        named = ", ".join(f"{rule} {count}" for rule, count in rules.most_common(MAX_RULES))
        raise RunFailed(
            f"step {step}: {failed} of {len(batch)} answers could not be graded ({named}), more than "
            f"rewards.max_failed_share={settings.max_failed_share}; check the golds, or raise it or "
            f"rewards.time_limit_s={settings.time_limit_s}"
        )
    rewards = [1.0 - batch[index].reward if settings.flip else batch[index].reward for index in decided]
    if settings.shuffle:
        rewards = [rewards[index] for index in shuffled(len(rewards), seed=seed, step=step)]
    return decided, rewards


def shuffled(count: int, *, seed: int, step: int) -> list[int]:
    """Return a permutation of range(count), a function of the arguments alone."""

    def draw(index: int) -> bytes:
        return hashlib.blake2b(f"shuffle/{seed}/{step}/{index}".encode(), digest_size=16).digest()

    return sorted(range(count), key=draw)


def outcome_rates(batch: Sequence[Rewarded]) -> dict[str, float]:
    """Return the fraction of each of the six outcomes, `outcome/correct` and so on; they sum to 1.

    `outcome/timeout` are wrong answers that kept the grader from a verdict, and not in `outcome/wrong`.
    """
    counts = Counter(counted_as(item.grade.status, item.grade.rule) for item in batch)
    return {f"outcome/{status.value}": counts[status] / len(batch) for status in Status}
