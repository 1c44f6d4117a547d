"""What the loop asks of an algorithm: which numbers it needs beforehand, and its loss on one micro-batch.

A loss here is a share: summed over the micro-batches and processes of a batch it is the batch's loss, so gradients do
not depend on how the batch is split. Denominators therefore are counts of the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tbrm_train.policy import TokenScores
from tbrm_train.rl_recipe import Algorithm


@dataclass(slots=True)
class Tally:
    """Sums and counts by name, so that means over micro-batches and processes are means over their items."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, mask: Tensor | None = None) -> None:
        """Count the values (those under the mask)."""
        chosen = values.detach().double() if mask is None else values.detach().double()[mask]
        self.sums[name] = self.sums.get(name, 0.0) + float(chosen.sum())
        self.counts[name] = self.counts.get(name, 0.0) + chosen.numel()


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What is known of B trajectories with N response tokens when their loss is computed."""

    scores: TokenScores  # (N,) each, with gradients
    rows: Tensor  # (N,)
    rewards: Tensor  # (B,)
    ref_logprobs: Tensor | None  # (N,)
    ref_values: Tensor | None  # (B,)
    old_logprobs: Tensor  # (N,)
    advantages: Tensor | None  # (N,)
    num_trajectories: int  # of the whole batch
    num_tokens: int

    def per_trajectory(self, tokens: Tensor) -> Tensor:
        """Sum token numbers (N,) by trajectory (B,)."""
        return torch.zeros(len(self.rewards), dtype=tokens.dtype, device=tokens.device).index_add(0, self.rows, tokens)

    def first(self, tokens: Tensor) -> Tensor:
        """Pick the number of each trajectory's first token (B,)."""
        starts = torch.cat([self.rows.new_ones(1, dtype=torch.bool), self.rows[1:] != self.rows[:-1]])
        return tokens[starts]


@dataclass(frozen=True, slots=True)
class Objective:
    """An algorithm, as the learner runs it."""

    loss: Callable[[MicroBatch, Algorithm, Tally], Tensor]
    needs_reference: bool = False
    needs_critic: bool = False


def tbrm(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """Provisional."""
    assert batch.ref_values is not None
    assert batch.ref_logprobs is not None
    value = batch.first(batch.scores.logsumexp)
    if settings.center_value:
        value = value - batch.ref_values
    ratio = batch.per_trajectory(batch.scores.logprobs - batch.ref_logprobs)
    residual = settings.beta * (value + ratio) - batch.rewards
    tally.add("residual/right", residual, batch.rewards > 0.5)
    tally.add("residual/wrong", residual, batch.rewards <= 0.5)
    tally.add("value_minus_ref", batch.first(batch.scores.logsumexp) - batch.ref_values)
    return residual.square().sum() / batch.num_trajectories


def clipped(batch: MicroBatch, settings: Algorithm, tally: Tally) -> Tensor:
    """Provisional."""
    assert batch.advantages is not None
    ratio = (batch.scores.logprobs - batch.old_logprobs).exp()
    limited = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    tokens = -torch.minimum(ratio * batch.advantages, limited * batch.advantages)
    tally.add("clip_fraction", (limited * batch.advantages < ratio * batch.advantages).double())
    return tokens.sum() / batch.num_tokens


OBJECTIVES = {
    "tbrm": Objective(tbrm, needs_reference=True),
    "grpo": Objective(clipped),
    "ppo": Objective(clipped, needs_critic=True),
}
