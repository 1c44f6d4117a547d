"""The training loop, top to bottom: rollout, reward, loss, step, checkpoint, evaluate.

Killed at any moment and started again, a run goes on from its last whole checkpoint and ends with the bytes of a run
that was never killed: what a step does depends on the weights and on (seed, step) alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tbrm_train.checkpoint import Checkpoint, check_world_size, last_checkpoint, prune, write_checkpoint
from tbrm_train.data import TrainingPrompt, requests, step_prompts
from tbrm_train.export import write_model
from tbrm_train.metrics_log import MetricsLog
from tbrm_train.objectives import Trajectory, centred
from tbrm_train.offline_values import read_values, value_table, write_values
from tbrm_train.processes import Clock, barrier, gather, generator_state, restore_generators
from tbrm_train.rewards import Rewarded, outcome_rates, settle
from tbrm_train.rl_recipe import RlRecipe
from tbrm_train.session import Session, open_session
from tbrm_train.sync import sync
from tbrm_train.task_scores import score_tasks

OFFLINE_EPOCH = 1 << 20  # the samples behind V* have seeds of their own


@dataclass(frozen=True, slots=True)
class Step:
    """What an observer is told after every step; step 0 is the model before its first update."""

    step: int
    num_steps: int
    metrics: dict[str, float]
    timings: dict[str, float]


def train(recipe: RlRecipe, observer: Callable[[Step], None], warn: Callable[[str], None]) -> Path:
    """Train to the recipe's last step in a folder that `open_output` made; return the last checkpoint.

    Raises UserError for what a person can mend before the first step, RunFailed for what stops a training; checkpoints
    stay, and the same call goes on from the last one.
    """
    output, num_steps = Path(recipe.output), recipe.optimizer.steps
    with open_session(recipe) as session:
        for warning in session.prompts.warnings if session.is_first else ():
            warn(warning)
        last = last_checkpoint(output)
        first = 0 if last is None else _resume(session, last)
        clock = Clock()
        with MetricsLog(recipe, first_step=first + (last is not None), writes=session.is_first) as log:

            def record(step: int, metrics: dict[str, float]) -> None:
                timings = clock.take()
                log.write(step, metrics, timings)
                observer(Step(step, num_steps, metrics, timings))

            sync(session)
            if last is not None:
                _score(session, last.path)
            else:
                with clock.phase("validation"):
                    metrics = _validate(session) if recipe.evaluation.every is not None else {}
                with clock.phase("rollout"):
                    metrics |= _offline_values(session)
                if metrics:
                    record(0, metrics)
            for step in range(first + 1, num_steps + 1):
                with clock.phase("rollout"):
                    batch = _roll_out(session, step)
                trajectories, metrics = _reward(session, batch, step)
                with clock.phase("update"):
                    metrics |= session.learner.learn(trajectories, step=step)
                with clock.phase("sync"):
                    metrics |= sync(session, trajectories)
                if _due(step, recipe.evaluation.every, num_steps):
                    with clock.phase("validation"):
                        metrics |= _validate(session)
                record(step, metrics)
                if _due(step, recipe.checkpoints.every, num_steps):
                    with clock.phase("checkpoint"):
                        path = _checkpoint(session, step, metrics.get("validation/avg", math.nan))
                    with clock.phase("evaluation"):
                        _score(session, path)
    final = last_checkpoint(output)
    assert final is not None
    return final.path


def _due(step: int, every: int | None, num_steps: int) -> bool:
    return every is not None and (step % every == 0 or step == num_steps)


def _resume(session: Session, last: Checkpoint) -> int:
    check_world_size(last, session.processes.world_size)
    restore_generators(session.learner.load(last.path / "state"))
    return last.step


def _roll_out(session: Session, step: int) -> list[Rewarded]:
    """Sample and grade the prompts of a step; the samples of a prompt are neighbours."""
    recipe, prompts = session.recipe, session.prompts.train
    chosen = step_prompts(prompts, seed=recipe.seed, step=step - 1, count=recipe.rollout.prompts_per_step)
    return _sample(session, [(prompts[place], epoch) for place, epoch in chosen], recipe.rollout.samples_per_prompt)


def _sample(session: Session, chosen: Sequence[tuple[TrainingPrompt, int]], count: int) -> list[Rewarded]:
    """Sample and grade this process's share, and return everyone's in the order of the prompts."""
    mine = chosen[session.processes.rank :: session.processes.world_size]
    samples = session.rollouts.generate(
        requests(mine, count=count, sampling=session.sampling, seed=session.recipe.seed)
    )
    graded = session.rewarder.grade(samples, {item.problem.key: item.problem.gold for item, _ in mine})
    groups = [graded[start : start + count] for start in range(0, len(graded), count)]
    return [item for group in gather(groups, session.processes) for item in group]


def _reward(session: Session, batch: Sequence[Rewarded], step: int) -> tuple[list[Trajectory], dict[str, float]]:
    """Return what is learnt from, and what there is to tell of the batch."""
    recipe = session.recipe
    kept, rewards = settle(batch, recipe.rewards, seed=recipe.seed, step=step)
    count = recipe.rollout.samples_per_prompt
    trajectories = [
        Trajectory(
            prompt=session.prompt_ids[batch[place].sample.key[:2]],
            response=batch[place].sample.token_ids,
            reward=reward,
            group=place // count,
        )
        for place, reward in zip(kept, rewards, strict=True)
    ]
    by_group: dict[int, set[float]] = {}
    for trajectory in trajectories:
        by_group.setdefault(trajectory.group, set()).add(trajectory.reward)
    num_tokens = sum(len(item.sample.token_ids) for item in batch)
    if recipe.algorithm.center_reward:
        trajectories = centred(trajectories)
    if session.learner.objective.needs_values:
        values = read_values(Path(recipe.output)) or {}
        names = [batch[place].sample.key.problem_id for place in kept]
        trajectories = [replace(item, baseline=values[name]) for item, name in zip(trajectories, names, strict=True)]
    return trajectories, {
        "reward": sum(rewards) / len(rewards),
        **outcome_rates(batch),
        "cap_rate": sum(item.sample.finish_reason == "length" for item in batch) / len(batch),
        "zero_variance_groups": sum(len(found) == 1 for found in by_group.values()) / len(by_group),
        "tokens/mean": num_tokens / len(batch),
        "tokens/generated": num_tokens,
        "tokens/trained": sum(trajectory.num_tokens for trajectory in trajectories),
    }


def _offline_values(session: Session) -> dict[str, float]:
    """Sample the reference on every prompt that will be asked and store V* of each, where the algorithm needs it."""
    recipe, prompts = session.recipe, session.prompts.train
    if not session.learner.objective.needs_values:
        return {}
    num_asked = min(len(prompts), recipe.optimizer.steps * recipe.rollout.prompts_per_step)
    asked = step_prompts(prompts, seed=recipe.seed, step=0, count=num_asked)
    batch = _sample(session, [(prompts[place], OFFLINE_EPOCH) for place, _ in asked], recipe.algorithm.value_samples)
    if session.is_first:
        write_values(Path(recipe.output), value_table(batch, recipe.algorithm.beta))
    barrier(session.processes)
    return {"tokens/generated": sum(len(item.sample.token_ids) for item in batch)}


def _validate(session: Session) -> dict[str, float]:
    """Return avg@k on the held-out prompts, always with the same seeds."""
    held_out = [(item, 0) for item in session.prompts.validation]
    if not held_out:
        return {}
    batch = _sample(session, held_out, session.recipe.evaluation.samples)
    return {"validation/avg": sum(item.grade.status == "correct" for item in batch) / len(batch)}


def _checkpoint(session: Session, step: int, score: float) -> Path:
    recipe, processes = session.recipe, session.processes
    path = write_checkpoint(
        Path(recipe.output),
        step,
        meta={"world_size": processes.world_size, "score": None if math.isnan(score) else score},
        is_first=session.is_first,
        barrier=partial(barrier, processes),
        write_state=lambda folder: session.learner.save(folder, generator_state()),
        write_model=lambda folder: write_model(session.learner, session.tokenizer, folder, is_first=session.is_first),
    )
    if session.is_first:
        prune(Path(recipe.output), keep_last=recipe.checkpoints.keep_last)
    barrier(processes)
    return path


def _score(session: Session, path: Path) -> None:
    if session.is_first:
        score_tasks(session.recipe, path, session.rollouts.engine)
    barrier(session.processes)
