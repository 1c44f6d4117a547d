"""What an algorithm is asked for, and what it gets: the nouns between the learner and the files of the algorithms.

An algorithm is one file here. It holds its coefficients with their ranges (`[algorithm]` of a recipe), what a training
needs for it, what it learns from of a whole batch, and its loss. A recipe is read before torch is loaded, so torch is
imported where it computes.

Legend: B trajectories, N response tokens of all, in one row. Example: `grpo` asks for advantages of groups and, where
`kl_coefficient` or `kl_in_reward` is above 0, for the reference policy; its loss is `grpo_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from tbrm_train.algorithms.share import Metrics, Share, k3, mean

if TYPE_CHECKING:
    from torch import Tensor

    from tbrm_train.policy.policy import TokenScores


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A rollout with its reward; `group` numbers a batch's prompts, `optimal_value` is V* of its prompt, for A*-PO."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    reward: float
    group: int
    optimal_value: float = 0.0

    @property
    def num_tokens(self) -> int:
        """Tokens that a forward pass computes."""
        return len(self.prompt) + len(self.response)


class Whole(NamedTuple):
    """What is known of a whole batch before its updates: rewards and groups (B,), and numbers of its N tokens."""

    share: Share
    rewards: Tensor  # (B,)
    groups: Tensor  # (B,)
    values: Tensor | None = None  # (N,) the critic's
    penalties: Tensor | None = None  # (N,) taken off the rewards


class Signals(NamedTuple):
    """What of a whole batch a loss learns from; None where an algorithm has no such thing."""

    advantages: Tensor | None = None  # (B,)
    group_means: Tensor | None = None  # (B,)
    token_advantages: Tensor | None = None  # (N,)
    returns: Tensor | None = None  # (N,)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What is known of the B trajectories of a share when their loss is computed."""

    share: Share
    scores: TokenScores  # (N,) each, with gradients
    rewards: Tensor  # (B,)
    optimal_values: Tensor  # (B,)
    reference: TokenScores | None  # (N,) each
    old_logprobs: Tensor | None  # (N,) None: the policy has not moved since
    signals: Signals  # of these trajectories
    max_tokens: int  # the cap on new tokens
    old_values: Tensor | None = None  # (N,) the critic's, before the updates


@dataclass(frozen=True, slots=True)
class Needs:
    """What a training has beside its policy, and does with a batch, for an algorithm with its coefficients."""

    reference: bool = False
    reference_reset_every: int | None = None  # steps after which the reference becomes the policy
    critic: bool = False
    groups: bool = False  # samples of one prompt are compared
    value_samples: int = 0  # of the reference, behind V* of each prompt; 0: no V*
    updates_per_batch: int = 1
    kl_in_reward: float = 0.0  # weight of log(pi / ref) in `Whole.penalties`


class Coefficients(Protocol):
    """The coefficients of one algorithm: a frozen dataclass, whose fields are the keys that it reads."""

    @property
    def name(self) -> str:
        """The algorithm's name in ALGORITHMS."""


C = TypeVar("C", bound=Coefficients)


def no_signals(whole: Whole, settings: Any) -> Signals:
    """Learn from nothing but rewards."""
    return Signals()


@dataclass(frozen=True, slots=True)
class Algorithm(Generic[C]):
    """One algorithm, as its file defines it."""

    coefficients: type[C]
    needs: Callable[[C], Needs]
    loss: Callable[[MicroBatch, C], tuple[Tensor, Metrics]]
    signals: Callable[[Whole, C], Signals] = no_signals
    critic_loss: Callable[[Tensor, MicroBatch, C], tuple[Tensor, Metrics]] | None = None  # of the critic's values (N,)
    optimal_value: Callable[[C, Sequence[float]], float] | None = None  # V* from the rewards of a prompt's samples


def group_signals(whole: Whole, *, divide: bool) -> Signals:
    """Return advantages within groups, penalties taken off first; `divide` by the group's deviation."""
    from tbrm_train.algorithms.advantages import group_advantages, penalised

    rewards = whole.rewards
    if whole.penalties is not None:
        rewards = penalised(rewards, whole.penalties, share=whole.share)
    return Signals(advantages=group_advantages(rewards, whole.groups, divide=divide)[0])


def divergence(batch: MicroBatch) -> Metrics:
    """Return the k3 estimate of KL(pi, pi_ref) by the name that it is logged under."""
    assert batch.reference is not None
    return {"kl": mean(k3(batch.scores.logprobs, batch.reference.logprobs))}
