"""Everything that a training needs, loaded once and cross-checked before the first step."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tbrm_bench.engines.positions import position_limit, regime, use_long_factors
from tbrm_bench.errors import UserError
from tbrm_bench.fingerprints import tokenizer_fingerprint
from tbrm_bench.models.door import open_model
from tbrm_bench.models.resolve import Model
from tbrm_bench.prompts.protocol import Protocol, load_protocol
from tbrm_bench.prompts.render import check_ids, prompt_warnings, stop_token_ids
from tbrm_bench.prompts.tokenizer import open_tokenizer
from tbrm_bench.records import Sampling
from tbrm_bench.run.plan import Plan
from tbrm_bench.tasks.generators import gym_datasets
from tbrm_train.data.prompts import PromptSet, TrainingPrompt, load_prompts, requests
from tbrm_train.learner.deepspeed_engine import FrozenModule, Processes, TrainingEngine, start_processes
from tbrm_train.learner.learner import Learner
from tbrm_train.learner.ranks import gather
from tbrm_train.output.checkpoint import INPUTS, VALUES, last_checkpoint
from tbrm_train.output.inputs import (
    Inputs,
    check_same,
    differences,
    make_inputs,
    other_versions,
    read_inputs,
    write_inputs,
)
from tbrm_train.policy.policy import Critic, Policy, load_model
from tbrm_train.recipes.rl_recipe import Rewards, RlRecipe
from tbrm_train.rollout.gym_rewards import GymRewarder
from tbrm_train.rollout.rewards import Rewarded, Rewarder
from tbrm_train.rollout.sampling import Rollouts, make_rollouts
from tbrm_train.run.task_scores import check_positions, longest_task, plan_tasks


@dataclass(frozen=True, slots=True)
class Given:
    """What a recipe names, resolved and read, before any model is loaded."""

    model: Model
    tokenizer: Any
    prompts: PromptSet
    rewards: Rewards
    sampling: Sampling
    evaluation: Plan | None

    def inputs(self, *, reads_weights: bool = True) -> Inputs:
        """Return the training's inputs; the model's weights are hashed only with `reads_weights`."""
        inputs = make_inputs(
            self.model.path,
            tokenizer=tokenizer_fingerprint(self.tokenizer, self.model.path),
            prompts=self.prompts,
            sampling=self.sampling,
            rewards=self.rewards,
            evaluation=self.evaluation,
            reads_weights=reads_weights,
        )
        # The target of a link; a download is in a folder named after its commit.
        local = Path(self.model.name).expanduser()
        path = local.resolve() if local.is_dir() else self.model.path
        return replace(inputs, about={**inputs.about, "model": str(path)})


def load_given(recipe: RlRecipe) -> Given:
    """Resolve and read what a recipe names; raises UserError for what cannot be trained on."""
    model, check = open_model(recipe.model)
    loaded = open_tokenizer(model.path)
    tokenizer = loaded.tokenizer
    prompts = load_prompts(recipe, tokenizer, model.context_length)
    protocol = load_protocol(recipe.prompts.protocol)
    check_ids((item.prompt for item in (*prompts.train, *prompts.validation)), tokenizer, model.config)
    notes = (*loaded.warnings, *prompt_warnings(tokenizer, model.path, protocol, model.config))
    prompts = replace(prompts, warnings=(*check.finish(engine="the trainer"), *notes, *prompts.warnings))
    sampling = _sampling(recipe, protocol, tokenizer, model)
    return Given(model, tokenizer, prompts, recipe.rewards, sampling, plan_tasks(recipe, model.path))


@dataclass(frozen=True, slots=True)
class Session:
    """A training that is ready to step."""

    recipe: RlRecipe
    processes: Processes
    tokenizer: Any
    prompts: PromptSet
    sampling: Sampling
    learner: Learner
    rollouts: Rollouts
    rewarder: Rewarder | GymRewarder
    prompt_ids: Mapping[tuple[str, ...], tuple[int, ...]]
    news: Inputs | None  # the inputs, if they are not stored yet
    warnings: tuple[str, ...]

    @property
    def is_first(self) -> bool:
        """True in the one process that writes files."""
        return self.processes.rank == 0

    def store_inputs(self) -> None:
        """Store the training's inputs; called before the first step, once everything is loaded."""
        if self.news is not None and self.is_first:
            write_inputs(Path(self.recipe.output), self.news)


@contextmanager
def open_session(recipe: RlRecipe) -> Iterator[Session]:
    """Load prompts, policy, reference, critic, rollout engine and grader; close them in reverse order."""
    given = load_given(recipe)
    model, prompts = given.model, given.prompts
    longest = max(prompts.longest + recipe.rollout.max_tokens, longest_task(given.evaluation))
    has_long_factors = _has_long_factors(given, longest)
    processes = start_processes(recipe.deepspeed)
    news, warnings = _check_inputs(recipe, given, processes)
    with ExitStack() as stack:
        # Opened first and closed last: closing vLLM destroys the process group that DeepSpeed uses.
        rollouts = stack.enter_context(
            make_rollouts(
                str(model.path),
                recipe.rollout,
                max_model_len=longest,
                dtype=recipe.deepspeed.dtype,
                world_size=processes.world_size,
            )
        )
        learner = stack.enter_context(_make_learner(recipe, model, processes, has_long_factors))
        rewarder: Rewarder | GymRewarder = (
            stack.enter_context(GymRewarder(recipe))
            if gym_datasets(recipe.prompts.source)
            else stack.enter_context(Rewarder(recipe.rewards))
        )
        prompt_ids = {tuple(item.problem.key): item.prompt.token_ids for item in prompts.train}
        yield Session(
            recipe,
            processes,
            given.tokenizer,
            prompts,
            given.sampling,
            learner,
            rollouts,
            rewarder,
            prompt_ids,
            news,
            (*warnings, *prompts.warnings),
        )


def _check_inputs(recipe: RlRecipe, given: Given, processes: Processes) -> tuple[Inputs | None, list[str]]:
    """Return the inputs to be written, None if they are stored already, and warnings.

    Raises UserError, in every process, if processes read different inputs, or others than the training started with.
    """
    output = Path(recipe.output)
    found, stored = _agreed_inputs(output, given, processes)
    if stored is not None:
        check_same(output, stored, found)
        changed = other_versions(stored, found)
        return None, [f"{output} was started with other versions: {'; '.join(changed)}"] if changed else []
    last = last_checkpoint(output)
    if last is None and not (output / VALUES).exists():
        return found, []
    return replace(found, from_step=last.step if last else 0), [
        f"{output} was started before inputs were stored: nothing shows that model, tokenizer, prompts and golds are "
        f"still those of its first steps. {INPUTS} now stores them, and later starts are checked against it"
    ]


def _agreed_inputs(output: Path, given: Given, processes: Processes) -> tuple[Inputs, Inputs | None]:
    """Return rank 0's inputs and what is stored, in all processes. Weights are read once per machine."""
    mine: tuple[Inputs, Inputs | None] | UserError
    try:
        inputs = given.inputs(reads_weights=os.environ.get("LOCAL_RANK", "0") == "0")
        mine = inputs, read_inputs(output) if processes.rank == 0 else None
    except UserError as error:
        mine = error
    everyone = []
    for item in gather([mine], processes, concat=True):
        if isinstance(item, UserError):
            raise item
        everyone.append(item)
    found, stored = everyone[0]
    for rank, (other, _) in enumerate(everyone):
        for field, ours, theirs in differences(found.facts, _filled(other.facts, found.facts)):
            raise UserError(
                f"processes read different inputs: {field} is {theirs} in process {rank} and {ours} in process 0; give "
                "all machines the same files"
            )
    return found, stored


def _filled(facts: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts, with the weights of `others` if this process did not read them."""
    model = facts["model"]
    return {**facts, "model": {**model, "weights": model["weights"] or others["model"]["weights"]}}


@contextmanager
def _make_learner(recipe: RlRecipe, model: Model, processes: Processes, has_long_factors: bool) -> Iterator[Learner]:
    settings, temperature = recipe.deepspeed, recipe.rollout.temperature

    def load() -> Any:
        module = load_model(model.path, dtype=settings.dtype, gradient_checkpointing=settings.gradient_checkpointing)
        if has_long_factors:
            use_long_factors(module)
        return module

    trained = Policy(load(), temperature=temperature)
    if recipe.optimizer.parameters == "vectors":
        for parameter in trained.parameters():
            parameter.requires_grad_(parameter.ndim < 2)
    policy = TrainingEngine(trained, settings, recipe.optimizer)
    learner = Learner(recipe, processes, policy)
    if recipe.needs.reference:
        learner.reference = FrozenModule(Policy(load(), temperature=temperature), settings, processes.device)
    if recipe.needs.critic:
        learner.critic = TrainingEngine(Critic(load()), settings, recipe.optimizer)
    try:
        yield learner
    finally:
        learner.close()


def _has_long_factors(given: Given, longest: int) -> bool:
    """Return whether the rollout engine always uses a longrope model's long factors, as the trainer then must too."""
    limit = position_limit(given.model.config, "hf")
    if limit is None:
        return False
    check_positions(given.evaluation, regime(limit, longest + 1))  # one more, as `make_rollouts` has
    return longest + 1 > limit


def sample(session: Session, chosen: Sequence[tuple[TrainingPrompt, int]], count: int) -> list[Rewarded]:
    """Sample and grade this process's shard of (prompt, epoch); return all processes' in the order of the prompts."""
    mine = chosen[session.processes.rank :: session.processes.world_size]
    samples = session.rollouts.generate(
        requests(mine, count=count, sampling=session.sampling, seed=session.recipe.seed)
    )
    graded = session.rewarder.grade(samples, {item.problem.key: item.problem.gold for item, _ in mine})
    groups = [graded[start : start + count] for start in range(0, len(graded), count)]
    return [item for group in gather(groups, session.processes) for item in group]


def _sampling(recipe: RlRecipe, protocol: Protocol, tokenizer: Any, model: Model) -> Sampling:
    stops = stop_token_ids(tokenizer, model.path, protocol)
    if not stops and not protocol.stop_strings:
        raise UserError(
            f"protocol {protocol.name} and {recipe.model} name no token that ends an answer; add stop_tokens"
        )
    return Sampling(recipe.rollout.temperature, 1.0, recipe.rollout.max_tokens, protocol.stop_strings, stops)
