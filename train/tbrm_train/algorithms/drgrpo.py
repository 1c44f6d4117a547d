"""Dr.GRPO: GRPO without its two biases. Liu et al. 2025, https://arxiv.org/abs/2503.20783.

    A = r - mean of the group (not divided by the standard deviation, which would favour prompts that are almost
    always or almost never solved)
    loss = sum over response tokens of the clipped surrogate / (trajectories * max_tokens)

The divisor is a constant, so that long wrong responses are not penalised less per token. docs/algorithms/drgrpo.md
lists all differences and defines every metric.

Example: rewards 1, 0, 0, 0 of one prompt: A = 0.75, -0.25, -0.25, -0.25; each token's loss is divided by 4 * 2048.
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
class DrGrpo(Clipped):
    """The coefficients: those of `clipped`."""

    name: str = "drgrpo"


def drgrpo_loss(
    tokens: Tokens,
    *,
    advantages: Tensor,
    shard: BatchShard,
    max_tokens: int,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coefficient: float = 0.0,
    entropy_coefficient: float = 0.0,
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the loss (a scalar) and its metrics; advantages are per trajectory (B,).

    `max_tokens` is the cap on new tokens, a constant of the training.
    """
    return clipped_loss(
        tokens,
        advantages=advantages[shard.segment_ids],
        shard=shard,
        weight=1 / (shard.batch_trajectories * max_tokens),
        clip_low=clip_low,
        clip_high=clip_high,
        kl_coefficient=kl_coefficient,
        entropy_coefficient=entropy_coefficient,
    )


def _needs(settings: DrGrpo) -> Needs:
    return clipped_needs(settings, groups=True)


def _signals(batch: Batch, settings: DrGrpo) -> Signals:
    return group_signals(batch, divide=False)


def _loss(batch: MicroBatch, settings: DrGrpo) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return drgrpo_loss(
        tokens_of(batch),
        advantages=batch.signals.advantages,
        shard=batch.shard,
        max_tokens=batch.max_tokens,
        **loss_coefficients(settings),
    )


DRGRPO = Algorithm(DrGrpo, _needs, _loss, _signals)
