"""GRPO: PPO's surrogate with advantages from groups of samples. Shao et al. 2024, https://arxiv.org/abs/2402.03300.

    A = (r - mean of the group) / (standard deviation of the group + 1e-6), the same for all tokens of a response
    loss = mean over response tokens of the clipped surrogate + kl_coefficient k3(pi || ref)

The paper averages over the tokens of a response first and over responses then; here every token of the whole update
counts the same, as in frameworks. docs/algorithms/grpo.md has all differences and every metric.

Example: rewards 1, 0, 0, 0 of one prompt have mean 0.25 and deviation 0.5: A = 1.5, -0.5, -0.5, -0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tbrm_train.algorithms.clipped import Clipped, Tokens, clipped_loss, clipped_needs, loss_coefficients, tokens_of
from tbrm_train.algorithms.shard import BatchShard, Metrics
from tbrm_train.algorithms.signals import Algorithm, Batch, MicroBatch, Needs, Signals, group_signals

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpo(Clipped):
    """The coefficients: those of `clipped`."""

    name: str = "grpo"


def grpo_loss(
    tokens: Tokens,
    *,
    advantages: Tensor,
    shard: BatchShard,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coefficient: float = 0.0,
    entropy_coefficient: float = 0.0,
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the loss (a scalar) and its metrics; advantages are per trajectory (B,)."""
    return clipped_loss(
        tokens,
        advantages=advantages[shard.segment_ids],
        shard=shard,
        weight=1 / shard.batch_tokens,
        clip_low=clip_low,
        clip_high=clip_high,
        kl_coefficient=kl_coefficient,
        entropy_coefficient=entropy_coefficient,
    )


def _needs(settings: Grpo) -> Needs:
    return clipped_needs(settings, groups=True)


def _signals(batch: Batch, settings: Grpo) -> Signals:
    return group_signals(batch, divide=True)


def _loss(batch: MicroBatch, settings: Grpo) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return grpo_loss(
        tokens_of(batch),
        advantages=batch.signals.advantages,
        shard=batch.shard,
        **loss_coefficients(settings),
    )


GRPO = Algorithm(Grpo, _needs, _loss, _signals)
