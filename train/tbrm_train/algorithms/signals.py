"""The interface between the learner and an algorithm: what the algorithm defines, and the batches that it gets.

An algorithm is one file here: its coefficients with their ranges (`[algorithm]` of a recipe), the models that it needs,
the signals that it computes from a whole batch (advantages, returns) and its loss. Recipes are read before torch is
loaded, so torch is imported only inside functions.

Legend: B trajectories, N response tokens, packed end to end. Example: `grpo` computes group advantages and, where
`kl_coefficient` or `kl_in_reward` is above 0, needs the reference policy; its loss is `grpo_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from tbrm_train.algorithms.shard import BatchShard, Metrics, k3, mean

if TYPE_CHECKING:
    from torch import Tensor

    from tbrm_train.policy.policy import TokenScores


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A rollout and its reward; `group` is the index of its prompt in the batch, `optimal_value` its V* (A*-PO)."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    reward: float
    group: int
    optimal_value: float = 0.0

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.response)


class Batch(NamedTuple):
    """A whole batch before its updates, as signals are computed from it."""

    shard: BatchShard  # all of it
    rewards: Tensor  # (B,)
    groups: Tensor  # (B,)
    values: Tensor | None = None  # (N,) the critic's
    penalties: Tensor | None = None  # (N,) subtracted from the rewards


class Signals(NamedTuple):
    """What a loss learns from, computed over the whole batch; None where an algorithm does not use it."""

    advantages: Tensor | None = None  # (B,)
    group_means: Tensor | None = None  # (B,)
    token_advantages: Tensor | None = None  # (N,)
    returns: Tensor | None = None  # (N,)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The B trajectories of a shard, with all that their loss reads."""

    shard: BatchShard
    scores: TokenScores  # (N,) each, with gradients
    rewards: Tensor  # (B,)
    optimal_values: Tensor  # (B,)
    reference: TokenScores | None  # (N,) each
    old_logprobs: Tensor | None  # (N,) None before the first update: the current ones
    signals: Signals  # of these trajectories
    max_tokens: int  # the cap on new tokens
    old_values: Tensor | None = None  # (N,) the critic's, before the updates


@dataclass(frozen=True, slots=True)
class Needs:
    """What an algorithm needs from a training, given its coefficients: models, groups, updates."""

    reference: bool = False
    reference_reset_every: int | None = None  # copy the policy into the reference every N steps
    critic: bool = False
    groups: bool = False  # samples of one prompt are compared
    value_samples: int = 0  # from the reference, to estimate V* of each prompt; 0: no V*
    updates_per_batch: int = 1
    kl_in_reward: float = 0.0  # weight of log(pi / ref) in `Batch.penalties`


class Coefficients(Protocol):
    """The coefficients of one algorithm: a frozen dataclass whose fields are the keys that it reads."""

    @property
    def name(self) -> str:
        """The algorithm's name in ALGORITHMS."""


C = TypeVar("C", bound=Coefficients)


def no_signals(batch: Batch, settings: Any) -> Signals:
    """Return no signals: the loss reads the rewards."""
    return Signals()


@dataclass(frozen=True, slots=True)
class Algorithm(Generic[C]):
    """One algorithm, as its file defines it."""

    coefficients: type[C]
    needs: Callable[[C], Needs]
    loss: Callable[[MicroBatch, C], tuple[Tensor, Metrics]]
    signals: Callable[[Batch, C], Signals] = no_signals
    critic_loss: Callable[[Tensor, MicroBatch, C], tuple[Tensor, Metrics]] | None = None  # of the critic's values (N,)
    optimal_value: Callable[[C, Sequence[float]], float] | None = None  # V* from the rewards of a prompt's samples


def group_signals(batch: Batch, *, divide: bool) -> Signals:
    """Return group advantages of the rewards minus penalties; `divide` by the standard deviation of the group."""
    from tbrm_train.algorithms.advantages import group_advantages, penalised

    rewards = batch.rewards
    if batch.penalties is not None:
        rewards = penalised(rewards, batch.penalties, shard=batch.shard)
    return Signals(advantages=group_advantages(rewards, batch.groups, divide=divide)[0])


def divergence(batch: MicroBatch) -> Metrics:
    """Return the k3 estimate of KL(pi, pi_ref), under the name that it is logged as."""
    assert batch.reference is not None
    return {"kl": mean(k3(batch.scores.logprobs, batch.reference.logprobs))}
