"""PPO for one policy and one critic. Schulman et al. 2017, https://arxiv.org/abs/1707.06347.

    policy loss = mean over response tokens of the clipped surrogate (see `clipped`), A by GAE, whitened
    value loss  = mean over response tokens of 1/2 max((V - R)^2, (V_clip - R)^2),  V_clip = V_old +- value_clip

The mean counts the response tokens of the whole update. docs/algorithms/ppo.md lists the differences from the paper and
from frameworks, and defines every metric.

Example: V_old 0, V 1, R 1, value_clip 0.5: V_clip is 0.5 and the token's value loss 0.125, without gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le

from tbrm_train.algorithms.clipped import Clipped, Tokens, clipped_loss, clipped_needs, loss_coefficients, tokens_of
from tbrm_train.algorithms.shard import BatchShard, Metrics, as_loss, mean
from tbrm_train.algorithms.signals import Algorithm, Batch, MicroBatch, Needs, Signals

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppo(Clipped):
    """The coefficients: those of `clipped`, of GAE and of the critic; `value_clip` is in units of reward."""

    name: str = "ppo"
    gamma: Annotated[float, Ge(0), Le(1)] = 1.0
    lam: Annotated[float, Ge(0), Le(1)] = 1.0
    value_clip: Annotated[float, Gt(0)] = 0.5


def ppo_loss(
    tokens: Tokens,
    *,
    advantages: Tensor,
    shard: BatchShard,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coefficient: float = 0.0,
    entropy_coefficient: float = 0.0,
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the policy loss (a scalar) and its metrics; advantages are per token (N,)."""
    return clipped_loss(
        tokens,
        advantages=advantages,
        shard=shard,
        weight=1 / shard.batch_tokens,
        clip_low=clip_low,
        clip_high=clip_high,
        kl_coefficient=kl_coefficient,
        entropy_coefficient=entropy_coefficient,
    )


def value_loss(
    values: Tensor, *, old_values: Tensor, returns: Tensor, shard: BatchShard, value_clip: float = 0.5
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the critic's loss (a scalar, reward squared) and its metrics; all tensors are (N,)."""
    import torch

    limited = old_values + (values - old_values).clamp(-value_clip, value_clip)
    plain_error, limited_error = (values - returns).square(), (limited - returns).square()
    losses = 0.5 * torch.maximum(plain_error, limited_error)
    metrics = {
        "critic/error": mean(plain_error),
        "critic/value": mean(values),
        "critic/return": mean(returns),
        "critic/return_square": mean(returns.square()),
        "critic/clip_fraction": mean((limited_error > plain_error).double()),
    }
    return as_loss(losses.double().sum() / shard.batch_tokens, values), metrics


def _needs(settings: Ppo) -> Needs:
    return clipped_needs(settings, critic=True)


def _signals(batch: Batch, settings: Ppo) -> Signals:
    from tbrm_train.algorithms.advantages import gae, token_rewards, whiten

    assert batch.values is not None
    segment_ids = batch.shard.segment_ids
    earned = token_rewards(batch.rewards, segment_ids=segment_ids, penalties=batch.penalties)
    advantages, returns = gae(earned, batch.values, segment_ids=segment_ids, gamma=settings.gamma, lam=settings.lam)
    return Signals(token_advantages=whiten(advantages), returns=returns)


def _loss(batch: MicroBatch, settings: Ppo) -> tuple[Tensor, Metrics]:
    assert batch.signals.token_advantages is not None
    return ppo_loss(
        tokens_of(batch),
        advantages=batch.signals.token_advantages,
        shard=batch.shard,
        **loss_coefficients(settings),
    )


def _critic_loss(values: Tensor, batch: MicroBatch, settings: Ppo) -> tuple[Tensor, Metrics]:
    assert batch.old_values is not None
    assert batch.signals.returns is not None
    return value_loss(
        values,
        old_values=batch.old_values,
        returns=batch.signals.returns,
        shard=batch.shard,
        value_clip=settings.value_clip,
    )


PPO = Algorithm(Ppo, _needs, _loss, _signals, critic_loss=_critic_loss)
