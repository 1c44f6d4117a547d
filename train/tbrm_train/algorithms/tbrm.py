"""Trajectory Bellman residual minimisation. Yuan et al. 2025, https://arxiv.org/abs/2505.15311, Algorithm 1.

The model's logits, in units of reward / beta, are the Q-values of a KL-regularised problem: V = logsumexp of a state's
logits, pi = exp(Q - V). One residual per trajectory; the loss is its mean square over the trajectories of the update:

    delta = beta * (V(s_1) + log pi(tau) - log pi_ref(tau)) - r          loss = mean delta^2

The paper's residual is delta / beta; in units of reward, gradient clipping means the same at every beta. No critic, no
clipped ratio, no importance ratio, no mean over tokens. docs/algorithms/tbrm.md explains the switches and every metric.

Example: beta 0.5, V(s_1) 2.0, log pi(tau) -3.0, log pi_ref(tau) -3.5, r 1  ->  delta 0.25, loss 0.0625.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt

from tbrm_train.algorithms.shard import BatchShard, Metrics, as_loss, mean
from tbrm_train.algorithms.signals import Algorithm, Batch, MicroBatch, Needs, Signals, divergence

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Tbrm:
    """The coefficients; `beta` is in units of reward, the switches are explained on the page."""

    name: str = "tbrm"
    beta: Annotated[float, Gt(0)] = 0.002
    center_value: bool = False
    center_reward: bool = False
    freeze_value: bool = False
    reference_reset_every: Annotated[int, Ge(1)] | None = None


class Reference(NamedTuple):
    """What the loss needs from the reference policy: two floats per trajectory, which a replay buffer can keep."""

    logprob: Tensor  # (B,) log pi_ref(tau)
    value: Tensor  # (B,) V_ref(s_1)


def reference_of(logprobs: Tensor, logsumexp: Tensor, *, shard: BatchShard) -> Reference:
    """Reduce the reference's per-token scores (N,) to two floats per trajectory, without gradients."""
    return Reference(shard.sum_tokens(logprobs.detach()), shard.first_tokens(logsumexp.detach()))


def tbrm_loss(
    logprobs: Tensor,
    *,
    logsumexp: Tensor,
    reference: Reference,
    rewards: Tensor,
    shard: BatchShard,
    beta: float,
    group_means: Tensor | None = None,
    center_value: bool = False,
    center_reward: bool = False,
    freeze_value: bool = False,
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the loss (a scalar, reward squared) and its metrics.

    logprobs and logsumexp (N,) are the policy's, at the sampling temperature; rewards (B,) and, for `center_reward`,
    the mean rewards of their groups (B,), computed over the whole batch. An empty response ends in its first state: V
    is 0, delta is -r, and there is no gradient.
    """
    assert group_means is not None or not center_reward, "center_reward needs the means of the groups"
    value = shard.first_tokens(logsumexp)
    log_ratio = shard.sum_tokens(logprobs) - reference.logprob
    learned = value.detach() if freeze_value else value
    if center_value:
        learned = learned - reference.value
    targets = rewards - group_means if center_reward and group_means is not None else rewards
    residual = beta * (learned + log_ratio) - targets  # (B,) float64
    loss = residual.square().sum() / shard.batch_trajectories
    filled = shard.lengths() > 0
    metrics = {
        "residual": mean(residual),
        "residual/right": mean(residual, rewards > 0),
        "residual/wrong": mean(residual, rewards <= 0),
        "value": mean(value, filled),
        "value_minus_ref": mean(value - reference.value, filled),
        "log_ratio": mean(log_ratio),
        "log_ratio/square": mean(log_ratio.square()),
        "empty": mean((~filled).double()),
    }
    return as_loss(loss, logprobs), metrics


def _needs(settings: Tbrm) -> Needs:
    return Needs(reference=True, reference_reset_every=settings.reference_reset_every, groups=settings.center_reward)


def _signals(batch: Batch, settings: Tbrm) -> Signals:
    from tbrm_train.algorithms.advantages import group_means

    return Signals(group_means=group_means(batch.rewards, batch.groups) if settings.center_reward else None)


def _loss(batch: MicroBatch, settings: Tbrm) -> tuple[Tensor, Metrics]:
    assert batch.reference is not None
    loss, metrics = tbrm_loss(
        batch.scores.logprobs,
        logsumexp=batch.scores.logsumexp,
        reference=reference_of(batch.reference.logprobs, batch.reference.logsumexp, shard=batch.shard),
        rewards=batch.rewards,
        shard=batch.shard,
        beta=settings.beta,
        group_means=batch.signals.group_means,
        center_value=settings.center_value,
        center_reward=settings.center_reward,
        freeze_value=settings.freeze_value,
    )
    return loss, metrics | divergence(batch)


TBRM = Algorithm(Tbrm, _needs, _loss, _signals)
