"""Trajectory Bellman residual minimisation. Yuan et al. 2025, https://arxiv.org/abs/2505.15311, Algorithm 1.

The model's logits, in units of reward / beta, are the Q-values of a KL-regularised problem: V = logsumexp of a state's
logits, pi = exp(Q - V). One residual a trajectory, squared, mean over the trajectories of the update:

    delta = beta * (V(s_1) + log pi(tau) - log pi_ref(tau)) - r          loss = mean delta^2

The paper's residual is delta / beta; in units of reward, clipping the gradient means the same at every beta. No critic,
no clipping, no importance ratio, no mean over tokens. docs/algorithms/tbrm.md has the switches and every metric.

Example: beta 0.5, V(s_1) 2.0, log pi(tau) -3.0, log pi_ref(tau) -3.5, r 1  ->  delta 0.25, loss 0.0625.
"""

from typing import NamedTuple

from torch import Tensor

from tbrm_train.algorithms.share import Metrics, Share, as_loss, mean


class Reference(NamedTuple):
    """What the loss needs of the reference policy: two floats a trajectory, which replay keeps."""

    logprob: Tensor  # (B,) log pi_ref(tau)
    value: Tensor  # (B,) V_ref(s_1)


def reference_of(logprobs: Tensor, logsumexp: Tensor, *, share: Share) -> Reference:
    """Reduce the reference's scores of tokens (N,) to two floats a trajectory, without gradients."""
    return Reference(share.sum_tokens(logprobs.detach()), share.first_tokens(logsumexp.detach()))


def tbrm_loss(
    logprobs: Tensor,
    *,
    logsumexp: Tensor,
    reference: Reference,
    rewards: Tensor,
    share: Share,
    beta: float,
    group_means: Tensor | None = None,
    center_value: bool = False,
    center_reward: bool = False,
    freeze_value: bool = False,
) -> tuple[Tensor, Metrics]:
    """Return the share's part of the loss (a scalar, reward squared) and its metrics.

    logprobs and logsumexp (N,) are the policy's, at the sampling temperature; rewards (B,) and, for `center_reward`,
    the mean rewards of their groups (B,), taken over the whole batch. An empty response ends in its first state: V is
    0, delta is -r, there is no gradient.
    """
    assert group_means is not None or not center_reward, "center_reward needs the means of the groups"
    value = share.first_tokens(logsumexp)
    log_ratio = share.sum_tokens(logprobs) - reference.logprob
    learned = value.detach() if freeze_value else value
    if center_value:
        learned = learned - reference.value
    targets = rewards - group_means if center_reward and group_means is not None else rewards
    residual = beta * (learned + log_ratio) - targets  # (B,) float64
    loss = residual.square().sum() / share.batch_trajectories
    filled = share.lengths() > 0
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
