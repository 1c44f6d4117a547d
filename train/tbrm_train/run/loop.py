"""The training loop, top to bottom: rollout, reward, loss, step, checkpoint, evaluate.

Killed at any moment and started again, a run resumes from its last complete checkpoint and ends bit-identical to a run
that was never killed: a step depends only on the weights and on (seed, step).
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tbrm_train.algorithms.signals import Trajectory
from tbrm_train.data.prompts import step_prompts
from tbrm_train.learner.hf_export import write_model
from tbrm_train.learner.ranks import Clock, barrier, generator_state, largest, restore_generators
from tbrm_train.output.budget import PAID_PHASES, Meter
from tbrm_train.output.checkpoint import (
    StepCheckpoint,
    check_world_size,
    last_checkpoint,
    meter_of,
    point_best,
    prune,
    write_checkpoint,
)
from tbrm_train.output.hub_push import pushing
from tbrm_train.output.metrics_log import MetricsLog
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.rollout.rewards import Rewarded, outcome_rates, settle
from tbrm_train.run.divergence import batch_kept
from tbrm_train.run.offline_values import check_left, check_values, store_values, values_of
from tbrm_train.run.session import Session, open_session, sample
from tbrm_train.run.sync import sync
from tbrm_train.run.task_scores import score_tasks


@dataclass(frozen=True, slots=True)
class Step:
    """What an observer gets after every step; step 0 is before the first update, with a note while in progress."""

    step: int
    num_steps: int
    metrics: dict[str, float]
    timings: dict[str, float]
    note: str = ""


def train(recipe: RlRecipe, observer: Callable[[Step], None], warn: Callable[[str], None]) -> Path:
    """Train to the recipe's last step in a folder that `open_output` made; return the last checkpoint.

    Raises UserError, before the first step, for what a person can fix, RunFailed for what stops a training; checkpoints
    stay, and the same call resumes from the last one.
    """
    output, num_steps = Path(recipe.output), recipe.optimizer.steps
    with pushing(recipe, warn, is_first=int(os.environ.get("RANK", "0")) == 0) as push, open_session(recipe) as session:
        for warning in session.warnings if session.is_first else ():
            warn(warning)
        last = last_checkpoint(output)
        check_values(session)
        first = 0 if last is None else _resume(session, last)
        clock = Clock()
        with MetricsLog(recipe, first_step=first + (last is not None), writes=session.is_first) as log:

            def record(step: int, metrics: dict[str, float]) -> None:
                timings = clock.take()
                log.write(step, metrics, timings)
                observer(Step(step, num_steps, metrics, timings))

            meter = meter_of(recipe, last)
            sync(session, is_first=last is None)
            # From here on the folder belongs to this training: a start that was refused earlier does not claim it.
            session.store_inputs()
            if last is not None:
                _score(session, last.path, warn)
            else:
                with clock.phase("validation"):
                    metrics = _validate(session, log, 0) if recipe.evaluation.every is not None else {}
                with clock.phase("rollout"):
                    metrics |= store_values(session, lambda note: observer(Step(0, num_steps, {}, {}, note)))
                meter.add(metrics, _paid_seconds(session, clock))
                if metrics:
                    record(0, metrics)
                check_left(meter, recipe)
            is_last = last is not None and meter.is_spent
            for step in () if is_last else range(first + 1, num_steps + 1):
                with clock.phase("rollout"):
                    batch = _roll_out(session, step)
                trajectories, metrics = _reward(session, batch, step)
                kept = partial(batch_kept, session, batch, trajectories, step)
                with kept(), clock.phase("update"):
                    metrics |= session.learner.learn(trajectories, step=step, spent=meter.share)
                with kept(), clock.phase("sync"):
                    metrics |= sync(session, trajectories)
                meter.add(metrics, _paid_seconds(session, clock))
                is_last = step == num_steps or meter.is_spent
                if _due(step, recipe.evaluation.every, is_last):
                    with clock.phase("validation"):
                        metrics |= _validate(session, log, step)
                record(step, metrics)
                if _due(step, recipe.checkpoints.every, is_last):
                    with kept(), clock.phase("checkpoint"):
                        session.learner.check_weights(step)
                        path = _checkpoint(session, step, metrics.get("validation/avg", math.nan), meter)
                        push(path)
                    with clock.phase("evaluation"):
                        _score(session, path, warn)
                if is_last:
                    break
    final = last_checkpoint(output)
    assert final is not None
    return final.path


def _due(step: int, every: int | None, is_last: bool) -> bool:
    return every is not None and (step % every == 0 or is_last)


def _paid_seconds(session: Session, clock: Clock) -> float:
    """Return the step's seconds in the slowest process, so that all stop together; 0 without a budget of seconds."""
    if session.recipe.budget.seconds is None:
        return 0.0
    return largest(clock.total(PAID_PHASES), session.processes)


def _resume(session: Session, last: StepCheckpoint) -> int:
    check_world_size(last, session.processes.world_size)
    restore_generators(session.learner.load(last.path / "state"))
    if session.is_first:
        # The run may have been killed between writing the checkpoint and its link.
        point_best(Path(session.recipe.output))
    return last.step


def _roll_out(session: Session, step: int) -> list[Rewarded]:
    """Sample and grade the prompts of a step; the samples of a prompt are adjacent."""
    recipe, prompts = session.recipe, session.prompts.train
    chosen = step_prompts(prompts, seed=recipe.seed, step=step - 1, count=recipe.rollout.prompts_per_step)
    return sample(session, [(prompts[index], epoch) for index, epoch in chosen], recipe.rollout.samples_per_prompt)


def _reward(session: Session, batch: Sequence[Rewarded], step: int) -> tuple[list[Trajectory], dict[str, float]]:
    """Return the trajectories to learn from, and the metrics of the batch."""
    recipe = session.recipe
    kept, rewards = settle(batch, recipe.rewards, seed=recipe.seed, step=step)
    count = recipe.rollout.samples_per_prompt
    trajectories = [
        Trajectory(
            prompt=session.prompt_ids[batch[index].sample.key[:2]],
            response=batch[index].sample.token_ids,
            reward=reward,
            group=index // count,
        )
        for index, reward in zip(kept, rewards, strict=True)
    ]
    num_tokens = sum(len(item.sample.token_ids) for item in batch)
    if recipe.needs.value_samples:
        values = values_of(session, [batch[index].sample.key.problem_id for index in kept])
        trajectories = [replace(item, optimal_value=value) for item, value in zip(trajectories, values, strict=True)]
    return trajectories, {
        "reward": sum(rewards) / len(rewards),
        **outcome_rates(batch),
        "cap_rate": sum(item.sample.finish_reason == "length" for item in batch) / len(batch),
        "tokens/mean": num_tokens / len(batch),
        "tokens/generated": num_tokens,
        "tokens/trained": sum(trajectory.num_tokens for trajectory in trajectories),
    }


def _validate(session: Session, log: MetricsLog, step: int) -> dict[str, float]:
    """Return avg@k on the held-out prompts, always with the same seeds; write each prompt's score."""
    held_out = [(item, 0) for item in session.prompts.validation]
    if not held_out:
        return {}
    count = session.recipe.evaluation.samples
    batch = sample(session, held_out, count)
    right = [item.grade.status == "correct" for item in batch]
    scores = {
        item.problem.key.problem_id: sum(right[index * count : (index + 1) * count]) / count
        for index, (item, _) in enumerate(held_out)
    }
    names = list(dict.fromkeys(item.problem.cluster for item, _ in held_out))
    log.write_validation(step, scores, [names.index(item.problem.cluster) for item, _ in held_out])
    return {"validation/avg": sum(right) / len(batch)}


def _checkpoint(session: Session, step: int, score: float, meter: Meter) -> Path:
    recipe, processes = session.recipe, session.processes
    path = write_checkpoint(
        Path(recipe.output),
        step,
        meta={
            "world_size": processes.world_size,
            "score": None if math.isnan(score) else score,
            "spent": meter.state(),
        },
        is_first=session.is_first,
        barrier=partial(barrier, processes),
        write_state=lambda folder: session.learner.save(folder, generator_state()),
        write_model=lambda folder: write_model(session.learner, session.tokenizer, folder, is_first=session.is_first),
    )
    if session.is_first:
        prune(Path(recipe.output), keep_last=recipe.checkpoints.keep_last)
    barrier(processes)
    return path


def _score(session: Session, path: Path, warn: Callable[[str], None]) -> None:
    if session.is_first:
        score_tasks(session.recipe, path, session.rollouts.engine, warn)
    barrier(session.processes)
