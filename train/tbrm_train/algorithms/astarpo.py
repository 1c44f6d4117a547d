"""A*-PO: regression on the optimal advantage. Brantley et al. 2025, https://arxiv.org/abs/2505.20686.

    V*(x) = beta log mean_i exp(r_i / beta)          over samples of the reference policy, before training
    delta = beta log(pi(tau) / pi_ref(tau)) - (r - V*(x))          loss = mean over trajectories of delta^2

With the exact V*, the optimum of the KL-regularised problem has delta = 0 everywhere. The paper uses two betas, a large
one for V* and a small one in the loss; so do the two functions here. docs/algorithms/astarpo.md defines every metric.

Example: two of four samples are correct, beta 1: V* = log((2e + 2) / 4) = 0.62.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from tbrm_train.algorithms.shard import BatchShard, Metrics, as_loss, mean
from tbrm_train.algorithms.signals import Algorithm, MicroBatch, Needs, divergence

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AstarPo:
    """The coefficients; the betas are in units of reward. V* is that of the first reference, so there is no reset."""

    name: str = "astarpo"
    beta: Annotated[float, Gt(0)] = 0.002
    value_samples: Annotated[int, Ge(1)] = 8
    value_beta: Annotated[float, Gt(0)] | None = None  # of V*; `beta` without it


def soft_value(rewards: Sequence[float], *, beta: float) -> float:
    """Return beta log mean exp(r / beta), between the mean and the largest reward; NaN without rewards."""
    if not rewards:
        return math.nan
    largest = max(rewards)
    return largest + beta * math.log(sum(math.exp((reward - largest) / beta) for reward in rewards) / len(rewards))


def astarpo_loss(
    logprobs: Tensor,
    *,
    reference_logprob: Tensor,
    rewards: Tensor,
    values: Tensor,
    shard: BatchShard,
    beta: float,
) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the loss (a scalar, reward squared) and its metrics.

    logprobs (N,) are the policy's; log pi_ref(tau), r and V* are per trajectory (B,).
    """
    log_ratio = shard.sum_tokens(logprobs) - reference_logprob
    residual = beta * log_ratio - (rewards - values)  # (B,) float64
    loss = residual.square().sum() / shard.batch_trajectories
    metrics = {
        "residual": mean(residual),
        "residual/right": mean(residual, rewards > 0),
        "residual/wrong": mean(residual, rewards <= 0),
        "optimal_value": mean(values),
        "log_ratio": mean(log_ratio),
        "log_ratio/square": mean(log_ratio.square()),
    }
    return as_loss(loss, logprobs), metrics


def _needs(settings: AstarPo) -> Needs:
    return Needs(reference=True, value_samples=settings.value_samples)


def _optimal_value(settings: AstarPo, rewards: Sequence[float]) -> float:
    return soft_value(rewards, beta=settings.beta if settings.value_beta is None else settings.value_beta)


def _loss(batch: MicroBatch, settings: AstarPo) -> tuple[Tensor, Metrics]:
    assert batch.reference is not None
    loss, metrics = astarpo_loss(
        batch.scores.logprobs,
        reference_logprob=batch.shard.sum_tokens(batch.reference.logprobs),
        rewards=batch.rewards,
        values=batch.optimal_values,
        shard=batch.shard,
        beta=settings.beta,
    )
    return loss, metrics | divergence(batch)


ASTARPO = Algorithm(AstarPo, _needs, _loss, optimal_value=_optimal_value)
