"""Advantages: from groups of samples (GRPO, REINFORCE) or from a critic (PPO), always over the whole batch.

    rewards 1 0 0 0 of one prompt ->   0.75 -0.25 -0.25 -0.25                  baseline: the group mean
                                       1.5  -0.5  -0.5  -0.5                   over the standard deviation (GRPO)
                                       1    -0.33 -0.33 -0.33                  baseline: mean of the others

Legend: B trajectories, N response tokens; segment_ids (N,), ascending, are the trajectory of each token.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tbrm_train.algorithms.shard import BatchShard, Mean, Metrics

STD_EPSILON = 1e-6
WHITEN_EPSILON = 1e-8


class Groups(NamedTuple):
    """Statistics of the group that each trajectory belongs to, (B,) each."""

    size: Tensor
    mean: Tensor
    std: Tensor  # unbiased (n - 1); NaN for a group of one
    constant: Tensor  # True if all rewards of the group are equal


def group_statistics(rewards: Tensor, groups: Tensor) -> Groups:
    """Return the statistics of each trajectory's group; `groups` (B,) are arbitrary integer ids."""
    _, index = torch.unique(groups, return_inverse=True)
    size = torch.bincount(index)
    values = rewards.double()
    zeros = values.new_zeros(len(size))
    means = zeros.index_add(0, index, values) / size
    squares = zeros.index_add(0, index, (values - means[index]).square())
    lowest = zeros.scatter_reduce(0, index, values, "amin", include_self=False)
    highest = zeros.scatter_reduce(0, index, values, "amax", include_self=False)
    std = torch.where(size > 1, squares / (size - 1), torch.nan).sqrt()
    found = Groups(size, means, std, lowest == highest)
    return Groups(*(part[index] for part in found))


def group_advantages(
    rewards: Tensor, groups: Tensor, *, divide: bool, leave_one_out: bool = False
) -> tuple[Tensor, Metrics]:
    """Return r - baseline (B,), with `divide` over the group's standard deviation + 1e-6, and metrics of the groups.

    The baseline is the mean of the group, or of its other members. Equal rewards give exactly 0: a float mean may be
    off in the last digit, which dividing by 1e-6 would amplify. A group of one has baseline 0 and deviation 1.
    """
    found = group_statistics(rewards, groups)
    alone = found.size == 1
    advantages = rewards.double() - torch.where(alone, 0.0, found.mean)
    if leave_one_out:
        # r - mean of the others = (r - mean) n / (n - 1)
        advantages = advantages * torch.where(alone, 1.0, found.size / (found.size - 1))
    if divide:
        advantages = advantages / torch.where(alone, 1.0, found.std + STD_EPSILON)
    silent = found.constant & ~alone
    return torch.where(silent, 0.0, advantages).to(rewards.dtype), group_metrics(rewards, groups)


def group_metrics(rewards: Tensor, groups: Tensor) -> Metrics:
    """Return the fraction of groups of two or more whose rewards are all equal, and the fraction of groups of one."""
    found = group_statistics(rewards, groups)
    alone = found.size == 1
    # Each group counts once: a trajectory has weight 1 / size of its group.
    per_group = 1 / found.size.double()
    return {
        "zero_variance_groups": Mean(((found.constant & ~alone) * per_group).sum(), per_group.sum()),
        "single_groups": Mean(alone.double().sum(), per_group.sum()),
    }


def group_means(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return the mean reward of each trajectory's group (B,), which `center_reward` subtracts; 0 for a group of one."""
    found = group_statistics(rewards, groups)
    # If all are equal, the mean is exactly that reward.
    means = torch.where(found.constant, rewards.double(), found.mean)
    return torch.where(found.size > 1, means, 0.0).to(rewards.dtype)


def penalised(rewards: Tensor, penalties: Tensor, *, shard: BatchShard) -> Tensor:
    """Return rewards (B,) minus the sum of their tokens' penalties (N,), such as beta (log pi - log pi_ref)."""
    return (rewards - shard.sum_tokens(penalties.detach())).to(rewards.dtype)


def token_rewards(rewards: Tensor, *, segment_ids: Tensor, penalties: Tensor | None = None) -> Tensor:
    """Return per-token rewards (N,): the trajectory's reward at its last token, minus each token's penalty."""
    last = segment_ids != torch.cat([segment_ids[1:], segment_ids.new_full((1,), -1)])[: len(segment_ids)]
    earned = torch.where(last, rewards[segment_ids], 0.0)
    return earned if penalties is None else earned - penalties


def gae(rewards: Tensor, values: Tensor, *, segment_ids: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, https://arxiv.org/abs/1506.02438).

        A_t = sum over l of (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_{t+l})          return_t = A_t + V_t

    rewards (N,) and values (N,), the critic's value before each token; the value after the last token is 0, also
    at the token cap. Returns advantages and returns (N,).
    """
    following = torch.cat([values[1:], values.new_zeros(1)])[: len(values)].double()
    last = segment_ids != torch.cat([segment_ids[1:], segment_ids.new_full((1,), -1)])[: len(segment_ids)]
    errors = rewards.double() + gamma * torch.where(last, 0.0, following) - values.double()
    lengths = torch.bincount(segment_ids)
    ends = lengths.cumsum(0) - 1
    # Backwards from the last token, all trajectories at once; sorted, so that those still running are a prefix.
    lengths, order = lengths.sort(descending=True, stable=True)
    ends = ends[order]
    advantages, carried = torch.empty_like(errors), errors.new_zeros(len(ends))
    for back, left in enumerate(_num_running(lengths)):
        here = ends[:left] - back
        carried = errors[here] + gamma * lam * carried[:left]
        advantages[here] = carried
    return advantages.to(values.dtype), (advantages + values.double()).to(values.dtype)


def whiten(advantages: Tensor) -> Tensor:
    """Return (A - mean) / (standard deviation + 1e-8) over all tokens of the batch (N,); a single token gives 0."""
    exact = advantages.double()
    if len(exact) < 2:
        return torch.zeros_like(advantages)
    return ((exact - exact.mean()) / (exact.std() + WHITEN_EPSILON)).to(advantages.dtype)


def _num_running(lengths: Tensor) -> list[int]:
    """Return, for 0, 1, ... tokens back, the number of trajectories longer than that; lengths descend."""
    longest = int(lengths[0]) if len(lengths) else 0
    steps = torch.arange(longest, device=lengths.device)
    found: list[int] = (lengths[None, :] > steps[:, None]).sum(dim=1).tolist()
    return found
