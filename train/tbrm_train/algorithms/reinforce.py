"""REINFORCE with a baseline. Williams 1992, https://doi.org/10.1007/BF00992696.

    loss = - mean over trajectories of A log pi(tau)          A = r - baseline

It is TBRM's twin: on policy, with r - beta log(pi/pi_ref) as reward, the expected gradient of TBRM's loss is 2 beta
times this one's, plus the term of V(s_1). Whatever differs between trainings by the two is due to that term and to the
baseline. docs/algorithms/reinforce.md has the derivation and every metric.

Example: two trajectories of log-probability -3 and -5 with A = 0.5 and -0.5: loss = -(0.5 * -3 - 0.5 * -5) / 2 = -0.5.
"""

from torch import Tensor

from tbrm_train.algorithms.share import Metrics, Share, as_loss, mean


def reinforce_loss(logprobs: Tensor, *, advantages: Tensor, share: Share) -> tuple[Tensor, Metrics]:
    """Return the share's part of the loss (a scalar whose gradient counts) and its metrics.

    logprobs (N,) are the policy's; advantages (B,) come from the whole batch and carry no gradient. The policy must be
    the one that sampled: there is no importance ratio.
    """
    logprob = share.sum_tokens(logprobs)
    loss = -(advantages.detach() * logprob).sum() / share.batch_trajectories
    metrics = {
        "advantage": mean(advantages),
        "advantage/square": mean(advantages.square()),
        "trajectory_logprob": mean(logprob),
    }
    return as_loss(loss, logprobs), metrics
