"""V* of every prompt, for A*-PO, estimated from samples of the reference policy before the first step.

    V*(x) = beta log mean_i exp(r_i / beta),  r_i the rewards of `algorithm.value_samples` samples

where beta is `algorithm.value_beta`. Only prompts that the training will ask are sampled, in batches of a step's size,
with seeds of their own. The values are stored in `values.json` of the run after each batch: a run that was killed
resumes with the missing prompts. Each value is stored with the digest of its question, since an id may be a row number.
Their tokens are part of the algorithm's cost and are logged as those of step 0.

Example of the file: {"prompts": 1, "tokens": 431, "values": {"000017": 0.98}, "questions": {"000017": "3f2a..."}}
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import read_text, write_text
from tbrm_bench.strict_json import parse_json
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.data.prompts import TrainingPrompt, step_prompts
from tbrm_train.learner.ranks import barrier
from tbrm_train.output.budget import Meter
from tbrm_train.output.checkpoint import VALUES, last_checkpoint
from tbrm_train.output.inputs import question_digest
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.rollout.rewards import Rewarded, settle
from tbrm_train.run.session import Session, sample

OFFLINE_EPOCH = 1 << 20  # the samples for V* have seeds of their own


@dataclass(frozen=True, slots=True)
class Stored:
    """The number of prompts done, the tokens spent, V* by problem id, and the digest of each question.

    Files of older versions have no digests.
    """

    prompts: int = 0
    tokens: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    questions: Mapping[str, str] = field(default_factory=dict)


def value_table(
    rewards: Iterable[tuple[str, float]], optimal_value: Callable[[Sequence[float]], float]
) -> dict[str, float]:
    """Return V* by problem id, from (problem id, reward) of every sample."""
    found: dict[str, list[float]] = {}
    for name, reward in rewards:
        found.setdefault(name, []).append(reward)
    return {name: optimal_value(rewards_) for name, rewards_ in found.items()}


def read_values(output: Path) -> Stored:
    """Return what is stored; raises RunFailed if the file is missing or damaged."""
    try:
        stored = parse_json(read_text(output / VALUES), place=VALUES, fix="restore it")
        values = {str(name): float(value) for name, value in stored["values"].items()}
        questions = {str(name): str(text) for name, text in stored.get("questions", {}).items()}
        return Stored(int(stored["prompts"]), int(stored["tokens"]), values, questions)
    except (UserError, ValueError, KeyError, TypeError, AttributeError):
        why = "it is damaged" if (output / VALUES).exists() else "it does not exist"
        raise RunFailed(
            f"{output / VALUES} cannot be read ({why}), and only the model before training can "
            "reproduce it; restore it or start in a new folder, output=DIR"
        ) from None


def check_values(session: Session) -> None:
    """Raise UserError if the stored values are of other questions than this training's; RunFailed if they are lost."""
    output = Path(session.recipe.output)
    if not session.recipe.needs.value_samples:
        return
    if not (output / VALUES).exists() and last_checkpoint(output) is None:
        return
    stored = read_values(output)
    for item in _asked(session)[: stored.prompts]:
        name, ours = item.problem.key.problem_id, question_digest(item)
        theirs = stored.questions.get(name, ours) if name in stored.values else "none"
        if theirs != ours:
            raise UserError(
                f"{output / VALUES} has V* of other questions than this training asks: the digest of {name} is "
                f"{ours}, stored is {theirs}; restore the rows, or start in a new folder, output=DIR"
            )


def values_of(session: Session, names: Iterable[str]) -> list[float]:
    """Return V* of problems by their ids; raises RunFailed for one that has none."""
    output = Path(session.recipe.output)
    values = read_values(output).values
    try:
        return [values[name] for name in names]
    except KeyError as error:
        raise RunFailed(f"{output / VALUES} has no V* of problem {error}; start in a new folder, output=DIR") from None


def _asked(session: Session) -> list[TrainingPrompt]:
    """Return the prompts that the training will ask, each once, in the order in which it first asks them."""
    recipe, prompts = session.recipe, session.prompts.train
    count = min(len(prompts), recipe.optimizer.steps * recipe.rollout.prompts_per_step)
    return [prompts[index] for index, _ in step_prompts(prompts, seed=recipe.seed, step=0, count=count)]


def check_left(meter: Meter, recipe: RlRecipe) -> None:
    """Raise RunFailed if the samples for V* have spent the entire budget, so that no step is left."""
    if meter.generated_tokens and meter.is_spent:
        raise RunFailed(
            f"the samples for V* took {meter.generated_tokens:,.0f} tokens, the entire [budget]; raise it, or "
            f"lower algorithm.value_samples={recipe.needs.value_samples} or "
            f"optimizer.steps={recipe.optimizer.steps}"
        )


def store_values(session: Session, report: Callable[[str], None]) -> dict[str, float]:
    """Sample the reference on every prompt that will be asked and store its V*, if the algorithm needs it.

    `report` is called after each batch with the number of prompts done. Raises RunFailed, as a step does, if too many
    samples of a batch could not be graded.
    """
    recipe, output = session.recipe, Path(session.recipe.output)
    if not session.recipe.needs.value_samples:
        return {}
    count = recipe.rollout.prompts_per_step
    asked = _asked(session)
    stored = read_values(output) if (output / VALUES).exists() else Stored()
    for start in range(stored.prompts, len(asked), count):
        chosen = asked[start : start + count]
        batch = sample(session, [(item, OFFLINE_EPOCH) for item in chosen], recipe.needs.value_samples)
        tokens = sum(len(item.sample.token_ids) for item in batch)
        values = {**stored.values, **_values(recipe, chosen, batch)}
        questions = {**stored.questions, **{item.problem.key.problem_id: question_digest(item) for item in chosen}}
        stored = Stored(stored.prompts + len(chosen), stored.tokens + tokens, values, questions)
        if session.is_first:
            write_text(output / VALUES, json.dumps(asdict(stored)) + "\n")
        report(f"V* of {stored.prompts:,} of {len(asked):,} prompts")
    barrier(session.processes)
    return {"tokens/generated": stored.tokens}


def _values(recipe: RlRecipe, chosen: Sequence[TrainingPrompt], batch: Sequence[Rewarded]) -> dict[str, float]:
    # The loss learns from the rewards of the controls, so V* is estimated from those too.
    decided, rewards = settle(batch, recipe.rewards, seed=recipe.seed, step=0)
    names = [batch[index].sample.key.problem_id for index in decided]
    # A prompt without a graded sample gets the value of a wrong answer.
    nothing = {item.problem.key.problem_id: 0.0 for item in chosen}
    optimal_value = ALGORITHMS[recipe.algorithm.name].optimal_value
    assert optimal_value is not None
    of_prompt = partial(optimal_value, recipe.algorithm)
    return nothing | value_table(zip(names, rewards, strict=True), of_prompt)
