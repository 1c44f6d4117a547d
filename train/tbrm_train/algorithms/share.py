"""What all losses have in common: a share of an update's batch, and means that add up over shares.

An update is computed in micro-batches, by several processes; each holds a share of its trajectories. A loss here is a
share of the update's loss: its denominator counts the **whole** update, so the sum over all shares is the loss, and its
gradient the gradient, however the batch is split. A mean over a micro-batch would weigh the tokens of a small one more.

Response tokens of a share stand in one row, trajectory after trajectory, without padding:

    trajectories  ["a b c", "", "d e"]     rows  [0, 0, 0, 2, 2]     num_trajectories  3

Legend: B trajectories of the share, N response tokens of the share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# e^20 is 5e8: a ratio so large carries no gradient worth having, and e^89 would be infinite, times 0 not a number.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class Share:
    """The part of an update that one loss call sees, and the size of the whole."""

    rows: Tensor  # (N,) the trajectory of each token, ascending, in [0, B)
    num_trajectories: int  # B
    batch_trajectories: int  # of the whole update, over all micro-batches and processes
    batch_tokens: int  # response tokens, likewise

    def sum_tokens(self, tokens: Tensor) -> Tensor:
        """Sum numbers of tokens (N,) by trajectory (B,), in float64: 3,000 log-probabilities keep their last digits."""
        import torch

        sums = torch.zeros(self.num_trajectories, dtype=torch.float64, device=tokens.device)
        return sums.index_add(0, self.rows, tokens.double())

    def first_tokens(self, tokens: Tensor) -> Tensor:
        """Return each trajectory's number of its first token (B,), 0 for an empty response."""
        import torch

        starts = self.rows != torch.cat([self.rows.new_full((1,), -1), self.rows[:-1]])[: len(self.rows)]
        return self.sum_tokens(torch.where(starts, tokens, torch.zeros_like(tokens)))

    def lengths(self) -> Tensor:
        """Return the number of response tokens of each trajectory (B,)."""
        import torch

        return torch.bincount(self.rows, minlength=self.num_trajectories)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean as its sum and its count, both 0-d tensors, so that means of shares add up; NaN without items."""

    total: Tensor
    count: Tensor

    @property
    def value(self) -> float:
        """Return the mean, NaN if nothing was counted."""
        count = float(self.count)
        return float(self.total) / count if count else math.nan


Metrics = dict[str, Mean]


def mean(values: Tensor, mask: Tensor | None = None) -> Mean:
    """Return the mean of the values (of those under the mask), without gradients."""
    import torch

    values = values.detach().double()
    if mask is None:
        return Mean(values.sum(), values.new_tensor(values.numel()))
    return Mean(torch.where(mask, values, torch.zeros_like(values)).sum(), mask.sum().double())


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Return an estimate of KL(pi || ref) from each token that pi drew (N,): e^x - 1 - x >= 0 with x = log(ref/pi).

    Unbiased, of low variance (http://joschu.net/blog/kl-approx.html). Beyond MAX_LOG_RATIO it is cut off.
    """
    log_ratio = (reference_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.expm1() - log_ratio


def as_loss(loss: Tensor, like: Tensor) -> Tensor:
    """Return a sum of float64 in the precision of a model's loss: float32, or float64 where log-probabilities are."""
    import torch

    return loss.to(torch.promote_types(like.dtype, torch.float32))


def add_metrics(parts: Iterable[Mapping[str, Mean]]) -> Metrics:
    """Add up the metrics of shares."""
    found: Metrics = {}
    for part in parts:
        for name, item in part.items():
            known = found.get(name)
            found[name] = item if known is None else Mean(known.total + item.total, known.count + item.count)
    return found
