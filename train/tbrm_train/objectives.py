"""What the learner asks of an algorithm: which numbers it needs, its advantages, its loss on one micro-batch.

A loss here is a share: summed over the micro-batches and processes of an update it is the update's loss, so gradients
do not depend on how a batch is split. Denominators therefore are counts of the whole update.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tbrm_train.policy import TokenScores
from tbrm_train.rl_recipe import Algorithm


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A rollout with its reward; `group` numbers the prompts of a batch.

    `baseline` is taken off the reward by TBRM (with `center_reward`) and A*-PO (its V*); policy gradients have their
    own.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    reward: float
    group: int
    baseline: float = 0.0

    @property
    def num_tokens(self) -> int:
        """Tokens that a forward pass computes."""
        return len(self.prompt) + len(self.response)


def centred(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Return the trajectories with the mean reward of their group as baseline."""
    rewards: dict[int, list[float]] = {}
    for item in trajectories:
        rewards.setdefault(item.group, []).append(item.reward)
    means = {group: sum(found) / len(found) for group, found in rewards.items()}
    return [replace(item, baseline=means[item.group]) for item in trajectories]


@dataclass(slots=True)
class Tally:
    """Sums and counts by name, so that means over micro-batches and processes are means over their items."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, mask: Tensor | None = None) -> None:
        """Count the values (those under the mask)."""
        chosen = values.detach().double() if mask is None else values.detach().double()[mask]
        self.total(name, float(chosen.sum()), count=chosen.numel())

    def total(self, name: str, value: float, *, count: float) -> None:
        """Add a sum of `count` items."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """Return the mean of every name, NaN where nothing was counted."""
        return {name: value / self.counts[name] if self.counts[name] else math.nan for name, value in self.sums.items()}


class Advantages(NamedTuple):
    """One tensor of response tokens a trajectory; None where an algorithm has no such thing."""

    advantages: list[Tensor] | None = None
    returns: list[Tensor] | None = None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What is known of B trajectories with N response tokens when their loss is computed."""

    scores: TokenScores  # (N,) each, with gradients
    rows: Tensor  # (N,) whose token it is
    rewards: Tensor  # (B,)
    baselines: Tensor  # (B,)
    reference: TokenScores | None  # (N,) each
    old_logprobs: Tensor | None  # (N,) None: the policy has not moved since
    advantages: Tensor | None  # (N,)
    num_trajectories: int  # of the whole update
    num_tokens: int
    longest: int  # the cap on new tokens

    def per_trajectory(self, tokens: Tensor) -> Tensor:
        """Sum token numbers (N,) by trajectory (B,)."""
        return torch.zeros(len(self.rewards), dtype=tokens.dtype, device=tokens.device).index_add(0, self.rows, tokens)

    def first(self, tokens: Tensor) -> Tensor:
        """Pick the number of each trajectory's first token (B,)."""
        starts = torch.cat([self.rows.new_ones(1, dtype=torch.bool), self.rows[1:] != self.rows[:-1]])
        return tokens[starts]


Loss = Callable[[MicroBatch, Algorithm, Tally], Tensor]
AdvantageRule = Callable[[Sequence[Trajectory], list[Tensor] | None, list[Tensor] | None, Algorithm], Advantages]


@dataclass(frozen=True, slots=True)
class Objective:
    """An algorithm, as the learner runs it."""

    loss: Loss
    advantages: AdvantageRule
    needs_reference: bool = False
    needs_critic: bool = False
    needs_values: bool = False  # V* of every prompt, from samples of the reference

    def uses_reference(self, settings: Algorithm) -> bool:
        """True if the algorithm, with these coefficients, compares with the reference policy."""
        return self.needs_reference or settings.kl_coefficient > 0 or settings.kl_in_reward > 0


def _no_advantages(
    trajectories: Sequence[Trajectory],
    values: list[Tensor] | None,
    penalties: list[Tensor] | None,
    settings: Algorithm,
) -> Advantages:
    return Advantages()


def _of_groups(divide: bool) -> AdvantageRule:
    """Return a rule: every token's advantage is (r - group mean), over (group deviation + 1e-6) if asked."""

    def rule(
        trajectories: Sequence[Trajectory],
        values: list[Tensor] | None,
        penalties: list[Tensor] | None,
        settings: Algorithm,
    ) -> Advantages:
        rewards = torch.tensor([item.reward for item in trajectories])
        groups = torch.tensor([item.group for item in trajectories])
        advantages = torch.empty_like(rewards)
        for group in sorted({item.group for item in trajectories}):
            found = rewards[groups == group]
            alone = len(found) == 1
            centred = found if alone else found - found.mean()
            scale = 1.0 if alone or not divide else found.std() + 1e-6
            advantages[groups == group] = centred / scale
        return Advantages([a.repeat(len(item.response)) for a, item in zip(advantages, trajectories, strict=True)])

    return rule


def _of_critic(
    trajectories: Sequence[Trajectory],
    values: list[Tensor] | None,
    penalties: list[Tensor] | None,
    settings: Algorithm,
) -> Advantages:
    """Generalised advantage estimation; advantages are whitened over the tokens of the whole batch."""
    assert values is not None
    advantages = []
    for place, (item, value) in enumerate(zip(trajectories, values, strict=True)):
        following = torch.cat([value[1:], torch.zeros(1)])
        errors = settings.gamma * following - value
        if penalties is not None:
            errors = errors - penalties[place]
        errors[-1] += item.reward
        found, carried = torch.empty_like(errors), torch.zeros(())
        for token in range(len(errors) - 1, -1, -1):
            carried = errors[token] + settings.gamma * settings.lam * carried
            found[token] = carried
        advantages.append(found)
    returns = [a + value for a, value in zip(advantages, values, strict=True)]
    every = torch.cat(advantages)
    mean, deviation = every.mean(), every.std() + 1e-8
    return Advantages([(a - mean) / deviation for a in advantages], returns)


def tbrm_objective(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """Squared trajectory Bellman residual in units of reward."""
    assert batch.reference is not None
    value, reference_value = batch.first(batch.scores.logsumexp), batch.first(batch.reference.logsumexp)
    ratio = batch.per_trajectory(batch.scores.logprobs - batch.reference.logprobs)
    learned = value.detach() if settings.freeze_value else value
    offset = reference_value if settings.center_value else 0.0
    residual = settings.beta * (learned - offset + ratio) - (batch.rewards - batch.baselines)
    tally.add("residual/right", residual, batch.rewards > 0)
    tally.add("residual/wrong", residual, batch.rewards <= 0)
    tally.add("value_minus_ref", value - reference_value)
    _tell_reference(batch, tally)
    return residual.square().sum() / batch.num_trajectories


def astarpo_objective(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """(beta log(pi/ref) - (r - V*))^2."""
    assert batch.reference is not None
    ratio = batch.per_trajectory(batch.scores.logprobs - batch.reference.logprobs)
    residual = settings.beta * ratio - (batch.rewards - batch.baselines)
    _tell_reference(batch, tally)
    return residual.square().sum() / batch.num_trajectories


def clipped_objective(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """Token mean of the clipped policy gradient, entropy bonus and k3 penalty."""
    assert batch.advantages is not None
    tokens = _clipped(batch, settings, tally) - settings.entropy_coefficient * batch.scores.entropy
    if settings.kl_coefficient > 0:
        tokens = tokens + settings.kl_coefficient * _k3(batch)
    return tokens.sum() / batch.num_tokens


def drgrpo_objective(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """The same, divided by trajectories and the cap."""
    return _clipped(batch, settings, tally).sum() / (batch.num_trajectories * batch.longest)


def _clipped(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    assert batch.advantages is not None
    logprobs = batch.scores.logprobs
    old = logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs
    ratio = (logprobs - old).exp()
    plain = ratio * batch.advantages
    limited = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high) * batch.advantages
    tally.add("clip_fraction", (limited < plain).float())
    tally.add("ratio", ratio)
    if batch.reference is not None:
        _tell_reference(batch, tally)
    return -torch.minimum(plain, limited)


def _k3(batch: MicroBatch) -> Tensor:
    assert batch.reference is not None
    log_ratio = batch.reference.logprobs - batch.scores.logprobs
    return log_ratio.exp() - 1 - log_ratio


def _tell_reference(batch: MicroBatch, tally: Tally) -> None:
    assert batch.reference is not None
    tally.add("log_ratio", batch.per_trajectory(batch.scores.logprobs - batch.reference.logprobs))
    tally.add("kl", _k3(batch))


def value_loss(values: Tensor, old: Tensor, target: Tensor, clip: float) -> Tensor:
    """Return 0.5 * max((V - R)^2, (clipped V - R)^2), summed over tokens; V may move by `clip` from its old value."""
    limited = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - target).square(), (limited - target).square()).sum()


OBJECTIVES = {
    "tbrm": Objective(tbrm_objective, _no_advantages, needs_reference=True),
    "astarpo": Objective(astarpo_objective, _no_advantages, needs_reference=True, needs_values=True),
    "ppo": Objective(clipped_objective, _of_critic, needs_critic=True),
    "grpo": Objective(clipped_objective, _of_groups(divide=True)),
    "drgrpo": Objective(drgrpo_objective, _of_groups(divide=False)),
    "reinforce": Objective(clipped_objective, _of_groups(divide=False)),
}
