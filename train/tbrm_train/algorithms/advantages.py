"""Advantages: groups of samples for GRPO and REINFORCE, a critic for PPO. Always over the whole batch.

    rewards 1 0 0 0 of one prompt ->   0.75 -0.25 -0.25 -0.25                  its mean as baseline
                                       1.5  -0.5  -0.5  -0.5                   over the deviation, as GRPO does
                                       1    -0.33 -0.33 -0.33                  the mean of the others as baseline

Legend: B trajectories, N response tokens of all, in one row, `rows` (N,) ascending says whose each is.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tbrm_train.algorithms.share import Mean, Metrics, Share

STD_EPSILON = 1e-6
WHITEN_EPSILON = 1e-8


class Groups(NamedTuple):
    """Statistics of the group that each trajectory belongs to, (B,) each."""

    size: Tensor
    mean: Tensor
    std: Tensor  # with N - 1; NaN for a group of one
    constant: Tensor  # True if all rewards of the group are equal


def group_statistics(rewards: Tensor, groups: Tensor) -> Groups:
    """Return what is known of each trajectory's group; `groups` (B,) names it by any integer."""
    _, place = torch.unique(groups, return_inverse=True)
    size = torch.bincount(place)
    values = rewards.double()
    zeros = values.new_zeros(len(size))
    means = zeros.index_add(0, place, values) / size
    squares = zeros.index_add(0, place, (values - means[place]).square())
    lowest = zeros.scatter_reduce(0, place, values, "amin", include_self=False)
    highest = zeros.scatter_reduce(0, place, values, "amax", include_self=False)
    std = torch.where(size > 1, squares / (size - 1), torch.nan).sqrt()
    found = Groups(size, means, std, lowest == highest)
    return Groups(*(part[place] for part in found))


def group_advantages(
    rewards: Tensor, groups: Tensor, *, divide: bool, leave_one_out: bool = False
) -> tuple[Tensor, Metrics]:
    """Return r - baseline (B,), divided by the group's standard deviation + 1e-6 if asked, and metrics of the groups.

    The baseline is the group's mean, or that of its others. Equal rewards give exactly 0: their float mean may miss
    them by a last digit, which a deviation of 0 + 1e-6 would blow up. A sample alone has baseline 0 and deviation 1.
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
    """Return the share of groups whose rewards are all equal, and that of groups of one, which do not count there."""
    found = group_statistics(rewards, groups)
    alone = found.size == 1
    # Each group counts once: a trajectory is 1 / size of its group.
    per_group = 1 / found.size.double()
    return {
        "zero_variance_groups": Mean(((found.constant & ~alone) * per_group).sum(), per_group.sum()),
        "single_groups": Mean(alone.double().sum(), per_group.sum()),
    }


def group_means(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return the mean reward of each trajectory's group (B,), which `center_reward` takes off; of one alone, 0."""
    found = group_statistics(rewards, groups)
    # Where all are equal, the mean is the reward itself, to the last digit.
    means = torch.where(found.constant, rewards.double(), found.mean)
    return torch.where(found.size > 1, means, 0.0).to(rewards.dtype)


def penalised(rewards: Tensor, penalties: Tensor, *, share: Share) -> Tensor:
    """Return rewards (B,) less their tokens' penalties (N,), say beta (log pi - log pi_ref)."""
    return (rewards - share.sum_tokens(penalties.detach())).to(rewards.dtype)


def token_rewards(rewards: Tensor, *, rows: Tensor, penalties: Tensor | None = None) -> Tensor:
    """Return what every token earns (N,): the trajectory's reward at its last token, less each token's penalty."""
    last = rows != torch.cat([rows[1:], rows.new_full((1,), -1)])[: len(rows)]
    earned = torch.where(last, rewards[rows], 0.0)
    return earned if penalties is None else earned - penalties


def gae(earned: Tensor, values: Tensor, *, rows: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, https://arxiv.org/abs/1506.02438).

        A_t = sum over l of (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_{t+l})          return_t = A_t + V_t

    earned and values (N,) are what each token earned and the critic's value before it; the value after the last token
    is 0, at the token cap too. Returns advantages and returns (N,).
    """
    following = torch.cat([values[1:], values.new_zeros(1)])[: len(values)].double()
    last = rows != torch.cat([rows[1:], rows.new_full((1,), -1)])[: len(rows)]
    errors = earned.double() + gamma * torch.where(last, 0.0, following) - values.double()
    lengths = torch.bincount(rows)
    ends = lengths.cumsum(0) - 1
    # From the last token backwards, all trajectories at once; the longest come first so that those left are a prefix.
    lengths, order = lengths.sort(descending=True, stable=True)
    ends = ends[order]
    advantages, carried = torch.empty_like(errors), errors.new_zeros(len(ends))
    for back, left in enumerate(_still_there(lengths)):
        here = ends[:left] - back
        carried = errors[here] + gamma * lam * carried[:left]
        advantages[here] = carried
    return advantages.to(values.dtype), (advantages + values.double()).to(values.dtype)


def whiten(advantages: Tensor) -> Tensor:
    """Return (A - mean) / (standard deviation + 1e-8) over all tokens of the batch (N,); one token alone gives 0."""
    exact = advantages.double()
    if len(exact) < 2:
        return torch.zeros_like(advantages)
    return ((exact - exact.mean()) / (exact.std() + WHITEN_EPSILON)).to(advantages.dtype)


def _still_there(lengths: Tensor) -> list[int]:
    """Return, for 0, 1, ... tokens back, how many trajectories are longer; lengths descend."""
    longest = int(lengths[0]) if len(lengths) else 0
    steps = torch.arange(longest, device=lengths.device)
    found: list[int] = (lengths[None, :] > steps[:, None]).sum(dim=1).tolist()
    return found
