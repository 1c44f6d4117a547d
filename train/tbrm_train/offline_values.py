"""V* of every prompt, for A*-PO: from samples of the reference policy, before the first step.

    V*(x) = beta log mean_i exp(r_i / beta),  r_i the rewards of `algorithm.value_samples` samples

with `algorithm.value_beta`. Only prompts that the training will ask are sampled, with seeds of their own. The values
are stored, `values.json`, and belong to the run: a training that goes on reads them. Their tokens are part of the
algorithm's cost and are logged as those of step 0.

Example of the file: {"7 * 8": 0.98, "12 - 5 * 3": 0.0}
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tbrm_bench.errors import RunFailed
from tbrm_bench.store.files import write_text_atomically
from tbrm_train.budget import Meter
from tbrm_train.data import step_prompts
from tbrm_train.folder import disk_errors
from tbrm_train.losses.astarpo import soft_value
from tbrm_train.processes import barrier
from tbrm_train.rewards import settle
from tbrm_train.rl_recipe import RlRecipe
from tbrm_train.session import Session, sample

VALUES = "values.json"
OFFLINE_EPOCH = 1 << 20  # the samples behind V* have seeds of their own


def value_table(rewards: Iterable[tuple[str, float]], beta: float) -> dict[str, float]:
    """Return V* by problem id, from (problem id, reward) of every sample."""
    found: dict[str, list[float]] = {}
    for name, reward in rewards:
        found.setdefault(name, []).append(reward)
    return {name: soft_value(rewards_, beta=beta) for name, rewards_ in found.items()}


def read_values(output: Path) -> dict[str, float]:
    """Return the stored values; raises RunFailed if they are lost or damaged."""
    try:
        stored = json.loads((output / VALUES).read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunFailed(
            f"{output / VALUES} cannot be read ({type(error).__name__}), and only the model before training can make "
            "it again; put it back or start in a new folder, output=DIR"
        ) from None


def check_left(meter: Meter, recipe: RlRecipe) -> None:
    """Raise RunFailed if the samples behind V* have spent the whole budget: there is no step to learn in."""
    if meter.generated_tokens and meter.is_spent:
        raise RunFailed(
            f"the samples behind V* took {meter.generated_tokens:,.0f} tokens and the whole [budget]; raise it, or "
            f"lower algorithm.value_samples={recipe.algorithm.value_samples} or "
            f"optimizer.steps={recipe.optimizer.steps}"
        )


def store_values(session: Session) -> dict[str, float]:
    """Sample the reference on every prompt that will be asked and store V* of each, where the algorithm needs it.

    Raises RunFailed when too many samples could not be graded, as a step does.
    """
    recipe, prompts = session.recipe, session.prompts.train
    if not session.learner.objective.needs_values:
        return {}
    num_asked = min(len(prompts), recipe.optimizer.steps * recipe.rollout.prompts_per_step)
    asked = step_prompts(prompts, seed=recipe.seed, step=0, count=num_asked)
    chosen = [(prompts[place], OFFLINE_EPOCH) for place, _ in asked]
    batch = sample(session, chosen, recipe.algorithm.value_samples)
    # What the controls deal out is what the loss learns from, so V* is of that too.
    decided, rewards = settle(batch, recipe.rewards, seed=recipe.seed, step=0)
    names = [batch[place].sample.key.problem_id for place in decided]
    # A prompt none of whose samples could be graded is worth what a wrong answer is.
    nothing = {item.problem.key.problem_id: 0.0 for item, _ in chosen}
    beta = recipe.algorithm.beta if recipe.algorithm.value_beta is None else recipe.algorithm.value_beta
    if session.is_first:
        with disk_errors(Path(recipe.output)):
            text = json.dumps(nothing | value_table(zip(names, rewards, strict=True), beta))
            write_text_atomically(Path(recipe.output) / VALUES, text + "\n")
    barrier(session.processes)
    return {"tokens/generated": sum(len(item.sample.token_ids) for item in batch)}
