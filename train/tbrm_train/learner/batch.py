"""A batch packed end to end, what is scored of it before its updates, and the part of it that a micro-batch needs.

    responses of 3 and 2 tokens   ->   spans [0, 1, 2] and [3, 4]: indices into every (N,) tensor

Legend: B trajectories, N response tokens of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.signals import Batch, Signals, Trajectory


def collate(
    trajectories: Sequence[Trajectory],
    *,
    values: Sequence[Tensor] | None = None,
    penalties: Sequence[Tensor] | None = None,
) -> Batch:
    """Pack trajectories end to end; values and penalties have one tensor of response tokens per trajectory."""
    lengths = torch.tensor([len(item.response) for item in trajectories])
    count = len(trajectories)
    return Batch(
        shard=BatchShard(torch.arange(count).repeat_interleave(lengths), count, count, int(lengths.sum())),
        rewards=torch.tensor([item.reward for item in trajectories]),
        groups=torch.tensor([item.group for item in trajectories]),
        values=None if values is None else torch.cat(list(values)),
        penalties=None if penalties is None else torch.cat(list(penalties)),
    )


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """A batch with its signals and old log-probabilities, all from before its updates."""

    batch: Batch
    signals: Signals
    old_logprobs: Tensor | None  # (N,) None: a single update, whose log-probabilities are the old ones
    spans: tuple[Tensor, ...]  # the indices of each trajectory's tokens in (N,)

    def select(self, indices: Sequence[int], device: str) -> "ScoredBatch":
        """Return some of the trajectories on a device; `batch.shard` stays that of the whole batch."""
        tokens, chosen = torch.cat([self.spans[index] for index in indices]), torch.tensor(indices)

        def pick(values: Tensor | None, at: Tensor) -> Tensor | None:
            return None if values is None else values[at].to(device)

        batch, signals = self.batch, self.signals
        return ScoredBatch(
            batch._replace(
                rewards=batch.rewards[chosen].to(device),
                groups=batch.groups[chosen].to(device),
                values=pick(batch.values, tokens),
                penalties=pick(batch.penalties, tokens),
            ),
            Signals(
                advantages=pick(signals.advantages, chosen),
                group_means=pick(signals.group_means, chosen),
                token_advantages=pick(signals.token_advantages, tokens),
                returns=pick(signals.returns, tokens),
            ),
            pick(self.old_logprobs, tokens),
            tuple(self.spans[index] for index in indices),
        )
