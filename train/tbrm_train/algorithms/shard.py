"""What all losses share: the shard of an update's batch that one call sees, and means that add up over shards.

An update is computed in micro-batches, by several processes; each call sees a shard of its trajectories. A loss here is
the shard's part of the update's loss: it is normalised by counts of the **whole** update, so the sum over all shards is
the loss, and its gradient the gradient, however the batch is split. Averaging over each micro-batch would give the
tokens of a small one more weight.

Only response tokens are kept, packed end to end, so there is no padding and no loss_mask:

    trajectories  ["a b c", "", "d e"]     segment_ids  [0, 0, 0, 2, 2]     num_trajectories  3

Legend: B trajectories of the shard, N response tokens of the shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# e^20 is 5e8: a ratio that large has no useful gradient, and e^89 overflows to infinity, which times 0 is NaN.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class BatchShard:
    """The trajectories that one loss call sees, and the counts of the whole update that normalise the loss."""

    segment_ids: Tensor  # (N,) the trajectory of each token, ascending, in [0, B)
    num_trajectories: int  # B
    batch_trajectories: int  # of the whole update, over all micro-batches and processes
    batch_tokens: int  # response tokens, likewise

    def sum_tokens(self, values: Tensor) -> Tensor:
        """Sum per-token values (N,) per trajectory (B,), in float64: 3,000 log-probabilities keep their last digits."""
        import torch

        sums = torch.zeros(self.num_trajectories, dtype=torch.float64, device=values.device)
        return sums.index_add(0, self.segment_ids, values.double())

    def first_tokens(self, values: Tensor) -> Tensor:
        """Return the value at the first token of each trajectory (B,), 0 for an empty response."""
        import torch

        ids = self.segment_ids
        starts = ids != torch.cat([ids.new_full((1,), -1), ids[:-1]])[: len(ids)]
        return self.sum_tokens(torch.where(starts, values, torch.zeros_like(values)))

    def lengths(self) -> Tensor:
        """Return the number of response tokens of each trajectory (B,)."""
        import torch

        return torch.bincount(self.segment_ids, minlength=self.num_trajectories)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean as its sum and its count, both 0-d tensors, so that the means of shards add up; NaN without items."""

    total: Tensor
    count: Tensor

    @property
    def value(self) -> float:
        """Return the mean, NaN if nothing was counted."""
        count = float(self.count)
        return float(self.total) / count if count else math.nan


Metrics = dict[str, Mean]


def mean(values: Tensor, mask: Tensor | None = None) -> Mean:
    """Return the mean of the values (where the mask is True), without gradients."""
    import torch

    values = values.detach().double()
    if mask is None:
        return Mean(values.sum(), values.new_tensor(values.numel()))
    return Mean(torch.where(mask, values, torch.zeros_like(values)).sum(), mask.sum().double())


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Return an estimate of KL(pi || ref) from each token sampled from pi (N,): e^x - 1 - x >= 0 with x = log(ref/pi).

    Unbiased, of low variance (http://joschu.net/blog/kl-approx.html). Beyond MAX_LOG_RATIO it is cut off.
    """
    log_ratio = (reference_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.expm1() - log_ratio


def as_loss(loss: Tensor, like: Tensor) -> Tensor:
    """Cast a float64 sum to the dtype of a model's loss: float32, or float64 if the log-probabilities are."""
    import torch

    return loss.to(torch.promote_types(like.dtype, torch.float32))


def add_metrics(parts: Iterable[Mapping[str, Mean]]) -> Metrics:
    """Add up the metrics of shards."""
    found: Metrics = {}
    for part in parts:
        for name, item in part.items():
            so_far = found.get(name)
            found[name] = item if so_far is None else Mean(so_far.total + item.total, so_far.count + item.count)
    return found
