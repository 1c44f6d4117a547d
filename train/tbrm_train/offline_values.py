"""V* of every prompt, for A*-PO: from samples of the reference policy, before the first step.

    V*(x) = beta log mean_i exp(r_i / beta),  r_i the rewards of `algorithm.value_samples` samples

with `algorithm.value_beta`. Only prompts that the training will ask are sampled, as many at a time as a step asks, with
seeds of their own. The values are stored after each batch, `values.json`, and belong to the run: one that was killed
goes on with the prompts that are missing. Their tokens are part of the algorithm's cost and are logged as those of
step 0.

Example of the file: {"prompts": 2, "tokens": 431, "values": {"000017": 0.98, "000004": 0.0}}
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tbrm_bench.errors import RunFailed
from tbrm_bench.store.files import write_text_atomically
from tbrm_train.budget import Meter
from tbrm_train.data import TrainingPrompt, step_prompts
from tbrm_train.folder import disk_errors
from tbrm_train.losses.astarpo import soft_value
from tbrm_train.processes import barrier
from tbrm_train.rewards import Rewarded, settle
from tbrm_train.rl_recipe import RlRecipe
from tbrm_train.session import Session, sample

VALUES = "values.json"
OFFLINE_EPOCH = 1 << 20  # the samples behind V* have seeds of their own


@dataclass(frozen=True, slots=True)
class Stored:
    """The prompts done so far, the tokens that it took, and V* by problem id."""

    prompts: int = 0
    tokens: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


def value_table(rewards: Iterable[tuple[str, float]], beta: float) -> dict[str, float]:
    """Return V* by problem id, from (problem id, reward) of every sample."""
    found: dict[str, list[float]] = {}
    for name, reward in rewards:
        found.setdefault(name, []).append(reward)
    return {name: soft_value(rewards_, beta=beta) for name, rewards_ in found.items()}


def read_values(output: Path) -> Stored:
    """Return what is stored; raises RunFailed if it is lost or damaged."""
    try:
        stored = json.loads((output / VALUES).read_text(encoding="utf-8"))
        values = {str(name): float(value) for name, value in stored["values"].items()}
        return Stored(int(stored["prompts"]), int(stored["tokens"]), values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def store_values(session: Session, tell: Callable[[str], None]) -> dict[str, float]:
    """Sample the reference on every prompt that will be asked and store V* of each, where the algorithm needs it.

    `tell` hears after each batch how many prompts are done.

    Raises RunFailed when too many samples of a batch could not be graded, as a step does.
    """
    recipe, prompts, output = session.recipe, session.prompts.train, Path(session.recipe.output)
    if not session.learner.objective.needs_values:
        return {}
    count = recipe.rollout.prompts_per_step
    num_asked = min(len(prompts), recipe.optimizer.steps * count)
    asked = [prompts[place] for place, _ in step_prompts(prompts, seed=recipe.seed, step=0, count=num_asked)]
    stored = read_values(output) if (output / VALUES).exists() else Stored()
    for start in range(stored.prompts, num_asked, count):
        chosen = asked[start : start + count]
        batch = sample(session, [(item, OFFLINE_EPOCH) for item in chosen], recipe.algorithm.value_samples)
        tokens = sum(len(item.sample.token_ids) for item in batch)
        values = {**stored.values, **_values(recipe, chosen, batch)}
        stored = Stored(stored.prompts + len(chosen), stored.tokens + tokens, values)
        if session.is_first:
            with disk_errors(output):
                write_text_atomically(output / VALUES, json.dumps(asdict(stored)) + "\n")
        tell(f"V* of {stored.prompts:,} of {num_asked:,} prompts")
    barrier(session.processes)
    return {"tokens/generated": stored.tokens}


def _values(recipe: RlRecipe, chosen: Sequence[TrainingPrompt], batch: Sequence[Rewarded]) -> dict[str, float]:
    # What the controls deal out is what the loss learns from, so V* is of that too.
    decided, rewards = settle(batch, recipe.rewards, seed=recipe.seed, step=0)
    names = [batch[place].sample.key.problem_id for place in decided]
    # A prompt none of whose samples could be graded is worth what a wrong answer is.
    nothing = {item.problem.key.problem_id: 0.0 for item in chosen}
    beta = recipe.algorithm.beta if recipe.algorithm.value_beta is None else recipe.algorithm.value_beta
    return nothing | value_table(zip(names, rewards, strict=True), beta)
