"""The last checkpoints side by side: every task's scores by training and question, and the significant differences.

    validation     the held-out prompts, as scored by the training's own last validation
    math500, ...   the tasks of `evaluation.tasks`, from the run directories of the last checkpoints

Arms with the same seed sample the answers to a question with the same sample seeds; the held-out prompts are the same
for all seeds. Only seeds that both arms have finished are compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tbrm_bench.errors import RunFailed
from tbrm_bench.metrics.paired import holm
from tbrm_bench.metrics.training_seeds import SeededDifference, SeededMean, seeded_difference, seeded_mean
from tbrm_bench.run.comparison import TaskScores, lock_differences, read_run
from tbrm_train.comparison.plan import ComparisonPlan, Run
from tbrm_train.output.checkpoint import last_checkpoint
from tbrm_train.output.metrics_log import VALIDATION, read_lines
from tbrm_train.run.task_scores import is_scored

VALIDATION_TASK = "validation"
# By task, arm and seed.
Scores = Mapping[str, Mapping[str, Mapping[int, TaskScores]]]


@dataclass(frozen=True, slots=True)
class ArmScore:
    """The final score of an arm on one task: the mean over its finished seeds."""

    task: str
    arm: str
    seeds: tuple[int, ...]
    num_questions: int
    num_samples: int
    score: SeededMean
    by_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two arms on one task: the second minus the first, over the seeds that both have finished."""

    task: str
    base: str
    other: str
    seeds: tuple[int, ...]
    result: SeededDifference
    p_holm: float
    p_questions_holm: float

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "cannot tell", of the other arm, at the 5 % level."""
        if not self.p_holm < 0.05:
            return "cannot tell"
        return "better" if self.result.difference.mean > 0 else "worse"


def read_scores(plan: ComparisonPlan, finished: Sequence[Run]) -> Scores:
    """Return every finished training's scores; raises RunFailed if their questions or sampling differ."""
    found: dict[str, dict[str, dict[int, TaskScores]]] = {}
    locks = {}
    for run in finished:
        last = last_checkpoint(run.output)
        assert last is not None
        tasks = {VALIDATION_TASK: _validation(run, last.step)}
        if plan.base.evaluation.tasks:
            if not is_scored(run.arm.recipe, last.path):
                raise RunFailed(f"{last.path} was changed after it was evaluated; run the same command again")
            evaluated = read_run(run.output / "eval" / last.path.name)
            locks[run.name] = evaluated.lock
            tasks |= evaluated.tasks
        for task, scores in tasks.items():
            found.setdefault(task, {}).setdefault(run.arm.name, {})[run.seed] = scores
    _check_locks(locks, plan.base.evaluation.tasks)
    for task, by_arm in found.items():
        every = [scores for by_seed in by_arm.values() for scores in by_seed.values()]
        if any(list(scores.scores) != list(every[0].scores) for scores in every):
            raise RunFailed(f"the trainings were not evaluated on the same questions of {task}; start in a new folder")
    return found


def _validation(run: Run, step: int) -> TaskScores:
    for line in read_lines(run.output / VALIDATION):
        if line["step"] == step:
            clusters = dict(zip(line["ids"], map(str, line["clusters"]), strict=True))
            scores = dict(zip(line["ids"], line["scores"], strict=True))
            return TaskScores(scores, clusters, run.arm.recipe.evaluation.samples)
    raise RunFailed(f"{run.output / VALIDATION} has no line for step {step}; remove {run.output} and train again")


def _check_locks(locks: Mapping[str, Mapping[str, object]], tasks: Sequence[str]) -> None:
    """Refuse evaluations that differ in more than the model, such as by an engine updated halfway."""
    for one, two in combinations(locks, 2):
        for field, ours, theirs in lock_differences(locks[one], locks[two], tasks):
            raise RunFailed(
                f"{one} and {two} were evaluated differently: {field} is {ours!r:.60} and {theirs!r:.60}; remove the "
                "folders eval/ of the older ones and run the same command again"
            )


def arm_scores(scores: Scores) -> list[ArmScore]:
    """Return the final score of every arm on every task."""
    rows = []
    for task, by_arm in scores.items():
        for arm, by_seed in by_arm.items():
            table, clusters = _table(by_seed, tuple(by_seed))
            means = tuple(sum(row) / len(row) for row in table)
            first = next(iter(by_seed.values()))
            score = seeded_mean(table, clusters)
            rows.append(ArmScore(task, arm, tuple(by_seed), len(clusters), first.num_samples, score, means))
    return rows


def pair_rows(scores: Scores, arms: Sequence[str]) -> list[PairRow]:
    """Return every pair of arms on every task, with Holm's p-values over all of them; the earlier arm is the base."""
    rows = []
    for task, by_arm in scores.items():
        for base, other in combinations([arm for arm in arms if arm in by_arm], 2):
            seeds = tuple(seed for seed in by_arm[base] if seed in by_arm[other])
            if seeds:
                ours, clusters = _table(by_arm[base], seeds)
                theirs, _ = _table(by_arm[other], seeds)
                result = seeded_difference(ours, theirs, clusters)
                rows.append(PairRow(task, base, other, seeds, result, math.nan, math.nan))
    adjusted = holm([row.result.p_value for row in rows])
    of_questions = holm([row.result.p_questions for row in rows])
    return [
        replace(row, p_holm=float(p), p_questions_holm=float(q))
        for row, p, q in zip(rows, adjusted, of_questions, strict=True)
    ]


def _table(by_seed: Mapping[int, TaskScores], seeds: Sequence[int]) -> tuple[list[list[float]], list[str]]:
    """Return the scores (seeds, questions) and each question's cluster."""
    clusters = by_seed[seeds[0]].clusters
    return [list(by_seed[seed].scores.values()) for seed in seeds], [
        clusters[name] for name in by_seed[seeds[0]].scores
    ]
