"""The clipped surrogate that PPO, GRPO and Dr.GRPO share. Schulman et al. 2017, https://arxiv.org/abs/1707.06347.

    rho = pi(a|s) / pi_old(a|s)
    token loss = - min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)
                 + kl_coefficient k3(pi || ref) - entropy_coefficient H(pi(.|s))

They differ in how A is computed and in what the sum over tokens is divided by: `weight`.

Example: rho 1.5, A 1, clip 0.2: the token's loss is -1.2, with gradient 0; with A -1 it is 1.5, with a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from tbrm_train.algorithms.shard import MAX_LOG_RATIO, BatchShard, Metrics, as_loss, k3, mean
from tbrm_train.algorithms.signals import MicroBatch, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """The coefficients that all three read."""

    name: str
    clip_low: Annotated[float, Gt(0)] = 0.2
    clip_high: Annotated[float, Gt(0)] = 0.2
    kl_coefficient: Annotated[float, Ge(0)] = 0.0
    kl_in_reward: Annotated[float, Ge(0)] = 0.0
    entropy_coefficient: Annotated[float, Ge(0)] = 0.0
    updates_per_batch: Annotated[int, Ge(1)] = 1
    reference_reset_every: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The log-probabilities and entropy of N response tokens."""

    logprobs: Tensor  # (N,) of the policy, with gradient
    entropy: Tensor  # (N,) of the policy, with gradient
    old_logprobs: Tensor  # (N,) of the policy that sampled
    reference_logprobs: Tensor | None = None  # (N,) needed for kl_coefficient > 0


def clipped_needs(settings: Clipped, *, critic: bool = False, groups: bool = False) -> Needs:
    """Return what all three need, plus a critic or groups."""
    return Needs(
        reference=settings.kl_coefficient > 0 or settings.kl_in_reward > 0,
        reference_reset_every=settings.reference_reset_every,
        critic=critic,
        groups=groups,
        updates_per_batch=settings.updates_per_batch,
        kl_in_reward=settings.kl_in_reward,
    )


def loss_coefficients(settings: Clipped) -> dict[str, float]:
    """Return the coefficients that all three losses take, by their names."""
    return {
        "clip_low": settings.clip_low,
        "clip_high": settings.clip_high,
        "kl_coefficient": settings.kl_coefficient,
        "entropy_coefficient": settings.entropy_coefficient,
    }


def tokens_of(batch: MicroBatch) -> Tokens:
    """Return the tokens of a micro-batch; before the first update the policy is the one that sampled."""
    logprobs = batch.scores.logprobs
    return Tokens(
        logprobs=logprobs,
        entropy=batch.scores.entropy,
        old_logprobs=logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs,
        reference_logprobs=None if batch.reference is None else batch.reference.logprobs,
    )


def clipped_loss(
    tokens: Tokens,
    *,
    advantages: Tensor,
    shard: BatchShard,
    weight: float,
    clip_low: float,
    clip_high: float,
    kl_coefficient: float,
    entropy_coefficient: float,
) -> tuple[Tensor, Metrics]:
    """Return `weight` times the sum of the tokens' losses (a scalar) and the metrics; advantages are (N,)."""
    import torch

    log_ratio = tokens.logprobs - tokens.old_logprobs.detach()
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    plain = ratio * advantages
    limited = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    losses = -torch.minimum(plain, limited) - entropy_coefficient * tokens.entropy
    clipped = limited < plain
    metrics = {
        "clip_fraction": mean(clipped.double()),
        "clip_fraction/low": mean((clipped & (advantages < 0)).double()),
        "clip_fraction/high": mean((clipped & (advantages > 0)).double()),
        "ratio": mean(ratio),
        "kl_old": mean(k3(tokens.old_logprobs, tokens.logprobs)),
        "advantage": mean(advantages),
        "advantage/square": mean(advantages.square()),
    }
    if tokens.reference_logprobs is not None:
        penalty = k3(tokens.logprobs, tokens.reference_logprobs.detach())
        losses = losses + kl_coefficient * penalty
        metrics["kl"] = mean(penalty)
        metrics["log_ratio"] = mean(shard.sum_tokens(tokens.logprobs - tokens.reference_logprobs))
    else:
        assert kl_coefficient == 0, "a KL penalty needs the log-probabilities of the reference"
    return as_loss((weight * losses.double()).sum(), tokens.logprobs), metrics
