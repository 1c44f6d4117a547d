"""What is known of a batch before its updates, laid end to end, and the part of it that a micro-batch needs.

    responses of 3 and 2 tokens   ->   spans [0, 1, 2] and [3, 4] of every tensor of tokens

Legend: B trajectories, N response tokens of all, in one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tbrm_train.algorithms.share import Share
from tbrm_train.algorithms.signals import Signals, Trajectory, Whole


def whole_batch(
    trajectories: Sequence[Trajectory],
    *,
    values: Sequence[Tensor] | None = None,
    penalties: Sequence[Tensor] | None = None,
) -> Whole:
    """Lay a batch end to end; values and penalties have one tensor of response tokens a trajectory."""
    lengths = torch.tensor([len(item.response) for item in trajectories])
    count = len(trajectories)
    return Whole(
        share=Share(torch.arange(count).repeat_interleave(lengths), count, count, int(lengths.sum())),
        rewards=torch.tensor([item.reward for item in trajectories]),
        groups=torch.tensor([item.group for item in trajectories]),
        values=None if values is None else torch.cat(list(values)),
        penalties=None if penalties is None else torch.cat(list(penalties)),
    )


@dataclass(frozen=True, slots=True)
class Known:
    """Numbers of a batch from before its updates."""

    whole: Whole
    signals: Signals
    old_logprobs: Tensor | None  # (N,) None: the policy that sampled is the one that is updated
    spans: tuple[Tensor, ...]  # where each trajectory's tokens stand in (N,)

    def of(self, places: Sequence[int], device: str) -> "Known":
        """Return the numbers of some trajectories; the share stays that of the batch."""
        tokens, rows = torch.cat([self.spans[place] for place in places]), torch.tensor(places)

        def pick(numbers: Tensor | None, where: Tensor) -> Tensor | None:
            return None if numbers is None else numbers[where].to(device)

        whole, signals = self.whole, self.signals
        return Known(
            whole._replace(
                rewards=whole.rewards[rows].to(device),
                groups=whole.groups[rows].to(device),
                values=pick(whole.values, tokens),
                penalties=pick(whole.penalties, tokens),
            ),
            Signals(
                advantages=pick(signals.advantages, rows),
                group_means=pick(signals.group_means, rows),
                token_advantages=pick(signals.token_advantages, tokens),
                returns=pick(signals.returns, tokens),
            ),
            pick(self.old_logprobs, tokens),
            tuple(self.spans[place] for place in places),
        )
