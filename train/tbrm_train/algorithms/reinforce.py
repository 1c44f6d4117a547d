"""REINFORCE with a baseline. Williams 1992, https://doi.org/10.1007/BF00992696.

    loss = - mean over trajectories of A log pi(tau)          A = r - baseline

It is the counterpart of TBRM: on policy, with reward r - beta log(pi/pi_ref), the expected gradient of TBRM's loss is
2 beta times this one's, plus the term of V(s_1). Any difference between two such trainings is due to that term and to
the baseline. docs/algorithms/reinforce.md has the derivation and every metric.

Example: two trajectories of log-probability -3 and -5 with A = 0.5 and -0.5: loss = -(0.5 * -3 - 0.5 * -5) / 2 = -0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from tbrm_train.algorithms.shard import BatchShard, Metrics, as_loss, mean
from tbrm_train.algorithms.signals import Algorithm, Batch, MicroBatch, Needs, Signals, group_signals

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce:
    """The coefficients: `kl_in_reward` is TBRM's beta, in units of reward."""

    name: str = "reinforce"
    kl_in_reward: Annotated[float, Ge(0)] = 0.0
    reference_reset_every: Annotated[int, Ge(1)] | None = None


def reinforce_loss(logprobs: Tensor, *, advantages: Tensor, shard: BatchShard) -> tuple[Tensor, Metrics]:
    """Return the shard's part of the loss (a scalar; only its gradient is meaningful) and its metrics.

    logprobs (N,) are the policy's; advantages (B,) are computed over the whole batch and carry no gradient. The
    policy must be the one that sampled: there is no importance ratio.
    """
    logprob = shard.sum_tokens(logprobs)
    loss = -(advantages.detach() * logprob).sum() / shard.batch_trajectories
    metrics = {
        "advantage": mean(advantages),
        "advantage/square": mean(advantages.square()),
        "trajectory_logprob": mean(logprob),
    }
    return as_loss(loss, logprobs), metrics


def _needs(settings: Reinforce) -> Needs:
    return Needs(
        reference=settings.kl_in_reward > 0,
        reference_reset_every=settings.reference_reset_every,
        groups=True,
        kl_in_reward=settings.kl_in_reward,
    )


def _signals(batch: Batch, settings: Reinforce) -> Signals:
    return group_signals(batch, divide=False)


def _loss(batch: MicroBatch, settings: Reinforce) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return reinforce_loss(batch.scores.logprobs, advantages=batch.signals.advantages, shard=batch.shard)


REINFORCE = Algorithm(Reinforce, _needs, _loss, _signals)
