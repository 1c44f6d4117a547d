"""Everything a training needs, loaded once and checked against each other before the first step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tbrm_bench.engines.positions import position_limit, regime, use_long_factors
from tbrm_bench.errors import UserError
from tbrm_bench.model_door import open_model
from tbrm_bench.models import Model
from tbrm_bench.prompts import check_ids, prompt_warnings, stop_token_ids
from tbrm_bench.protocols import Protocol, load_protocol
from tbrm_bench.records import Sampling
from tbrm_bench.tokenizer import open_tokenizer
from tbrm_train.data import PromptSet, TrainingPrompt, load_prompts, requests
from tbrm_train.engine import FrozenModule, Processes, TrainingEngine, start_processes
from tbrm_train.gym import is_gym
from tbrm_train.gym_rewards import GymRewarder
from tbrm_train.learner import Learner
from tbrm_train.policy import Critic, Policy, load_model
from tbrm_train.processes import gather
from tbrm_train.rewards import Rewarded, Rewarder
from tbrm_train.rl_recipe import RlRecipe
from tbrm_train.rollout import Rollouts, make_rollouts
from tbrm_train.task_scores import check_positions, longest_task


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

    @property
    def is_first(self) -> bool:
        """True in the one process that writes files."""
        return self.processes.rank == 0


@contextmanager
def open_session(recipe: RlRecipe) -> Iterator[Session]:
    """Load prompts, policy, reference, critic, rollout engine and grader; leave them in reverse order."""
    model, check = open_model(recipe.model)
    loaded = open_tokenizer(model.path)
    tokenizer = loaded.tokenizer
    prompts = load_prompts(recipe, tokenizer, model.context_length)
    protocol = load_protocol(recipe.prompts.protocol)
    check_ids((item.prompt for item in (*prompts.train, *prompts.validation)), tokenizer, model.config)
    notes = (*loaded.warnings, *prompt_warnings(tokenizer, model.path, protocol, model.config))
    prompts = replace(prompts, warnings=(*check.finish(engine="the trainer"), *notes, *prompts.warnings))
    longest = max(prompts.longest + recipe.rollout.max_tokens, longest_task(recipe))
    has_long_factors = _has_long_factors(recipe, model, longest)
    processes = start_processes(recipe.deepspeed)
    with ExitStack() as stack:
        # Entered first and left last: leaving vLLM destroys the process group that DeepSpeed works in.
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
            if is_gym(recipe.prompts.source)
            else stack.enter_context(Rewarder(recipe.rewards, strict_boxed=protocol.strict_boxed))
        )
        sampling = _sampling(recipe, protocol, tokenizer, model)
        prompt_ids = {tuple(item.problem.key): item.prompt.token_ids for item in prompts.train}
        yield Session(recipe, processes, tokenizer, prompts, sampling, learner, rollouts, rewarder, prompt_ids)


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
    if learner.objective.uses_reference(recipe.algorithm):
        learner.reference = FrozenModule(Policy(load(), temperature=temperature), settings, processes.device)
    if learner.objective.needs_critic:
        learner.critic = TrainingEngine(Critic(load()), settings, recipe.optimizer)
    try:
        yield learner
    finally:
        learner.close()


def _has_long_factors(recipe: RlRecipe, model: Model, longest: int) -> bool:
    """Whether the rollout engine gives a longrope model its long factors throughout, as the trainer then must too."""
    limit = position_limit(model.config, "hf")
    if limit is None:
        return False
    check_positions(recipe, regime(limit, longest + 1))  # one more, as `make_rollouts` has
    return longest + 1 > limit


def sample(session: Session, chosen: Sequence[tuple[TrainingPrompt, int]], count: int) -> list[Rewarded]:
    """Sample and grade this process's share of (prompt, epoch), and return everyone's in the order of the prompts."""
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
