"""V* of every prompt, for A*-PO: from samples of the reference policy, before the first step.

    V*(x) = beta log mean_i exp(r_i / beta),  r_i the rewards of `algorithm.value_samples` samples

Only prompts that the training will ask are sampled. The values are stored, `values.json`, and belong to the run: a
training that goes on reads them. Their tokens are part of the algorithm's cost and are logged as those of step 0.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tbrm_bench.store.files import write_text_atomically
from tbrm_train.data import step_prompts
from tbrm_train.losses.astarpo import soft_value
from tbrm_train.processes import barrier
from tbrm_train.rewards import Rewarded
from tbrm_train.session import Session, sample

VALUES = "values.json"
OFFLINE_EPOCH = 1 << 20  # the samples behind V* have seeds of their own


def value_table(batch: Sequence[Rewarded], beta: float) -> dict[str, float]:
    """Return V* by problem id, from all decided samples of each."""
    rewards: dict[str, list[float]] = {}
    for item in batch:
        rewards.setdefault(item.sample.key.problem_id, []).extend([item.reward] if item.decided else [])
    # A prompt whose samples could not be graded is worth what a wrong answer is.
    return {name: soft_value(found, beta=beta) if found else 0.0 for name, found in rewards.items()}


def read_values(output: Path) -> dict[str, float] | None:
    """Return the stored values, None if there are none yet."""
    file = output / VALUES
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def write_values(output: Path, values: dict[str, float]) -> None:
    """Store the values, whole or not at all."""
    write_text_atomically(output / VALUES, json.dumps(values) + "\n")


def store_values(session: Session) -> dict[str, float]:
    """Sample the reference on every prompt that will be asked and store V* of each, where the algorithm needs it."""
    recipe, prompts = session.recipe, session.prompts.train
    if not session.learner.objective.needs_values:
        return {}
    num_asked = min(len(prompts), recipe.optimizer.steps * recipe.rollout.prompts_per_step)
    asked = step_prompts(prompts, seed=recipe.seed, step=0, count=num_asked)
    chosen = [(prompts[place], OFFLINE_EPOCH) for place, _ in asked]
    batch = sample(session, chosen, recipe.algorithm.value_samples)
    if session.is_first:
        write_values(Path(recipe.output), value_table(batch, recipe.algorithm.beta))
    barrier(session.processes)
    return {"tokens/generated": sum(len(item.sample.token_ids) for item in batch)}
