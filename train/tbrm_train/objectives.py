"""What the learner asks of an algorithm: which numbers it needs, what of the whole batch, its loss on a micro-batch.

The formulas stand elsewhere, each once: `losses/` has the losses, `advantages` what comes of the whole batch. Here they
get the coefficients of a recipe, [algorithm], and the tensors of a training.

Legend: B trajectories, N response tokens of all, in one row. Example: OBJECTIVES["grpo"] asks for advantages of groups
and, where `kl_coefficient` is above 0, for the reference policy; its loss is `grpo_loss`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from tbrm_train.algorithms.advantages import gae, group_advantages, group_means, penalised, token_rewards, whiten
from tbrm_train.algorithms.astarpo import astarpo_loss
from tbrm_train.algorithms.clipped import Tokens
from tbrm_train.algorithms.drgrpo import drgrpo_loss
from tbrm_train.algorithms.grpo import grpo_loss
from tbrm_train.algorithms.ppo import ppo_loss
from tbrm_train.algorithms.reinforce import reinforce_loss
from tbrm_train.algorithms.share import Metrics, Share, k3, mean
from tbrm_train.algorithms.tbrm import reference_of, tbrm_loss
from tbrm_train.policy import TokenScores
from tbrm_train.rl_recipe import Algorithm


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


Loss = Callable[[MicroBatch, Algorithm], tuple[Tensor, Metrics]]
Rule = Callable[[Whole, Algorithm], Signals]


@dataclass(frozen=True, slots=True)
class Objective:
    """An algorithm, as the learner runs it."""

    loss: Loss
    signals: Rule
    needs_reference: bool = False
    needs_critic: bool = False
    needs_values: bool = False  # V* of every prompt, from samples of the reference

    def uses_reference(self, settings: Algorithm) -> bool:
        """True if the algorithm, with these coefficients, compares with the reference policy."""
        return self.needs_reference or settings.kl_coefficient > 0 or settings.kl_in_reward > 0


def _group_means(whole: Whole, settings: Algorithm) -> Signals:
    return Signals(group_means=group_means(whole.rewards, whole.groups) if settings.center_reward else None)


def _nothing(whole: Whole, settings: Algorithm) -> Signals:
    return Signals()


def _of_groups(*, divide: bool) -> Rule:
    def rule(whole: Whole, settings: Algorithm) -> Signals:
        rewards = whole.rewards
        if whole.penalties is not None:
            rewards = penalised(rewards, whole.penalties, share=whole.share)
        return Signals(advantages=group_advantages(rewards, whole.groups, divide=divide)[0])

    return rule


def _of_critic(whole: Whole, settings: Algorithm) -> Signals:
    assert whole.values is not None
    rows = whole.share.rows
    earned = token_rewards(whole.rewards, rows=rows, penalties=whole.penalties)
    advantages, returns = gae(earned, whole.values, rows=rows, gamma=settings.gamma, lam=settings.lam)
    return Signals(token_advantages=whiten(advantages), returns=returns)


def _tbrm(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.reference is not None
    loss, metrics = tbrm_loss(
        batch.scores.logprobs,
        logsumexp=batch.scores.logsumexp,
        reference=reference_of(batch.reference.logprobs, batch.reference.logsumexp, share=batch.share),
        rewards=batch.rewards,
        share=batch.share,
        beta=settings.beta,
        group_means=batch.signals.group_means,
        center_value=settings.center_value,
        center_reward=settings.center_reward,
        freeze_value=settings.freeze_value,
    )
    return loss, metrics | _divergence(batch)


def _astarpo(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.reference is not None
    loss, metrics = astarpo_loss(
        batch.scores.logprobs,
        reference_logprob=batch.share.sum_tokens(batch.reference.logprobs),
        rewards=batch.rewards,
        values=batch.optimal_values,
        share=batch.share,
        beta=settings.beta,
    )
    return loss, metrics | _divergence(batch)


def _ppo(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.signals.token_advantages is not None
    return ppo_loss(
        _tokens(batch),
        advantages=batch.signals.token_advantages,
        share=batch.share,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        kl_coefficient=settings.kl_coefficient,
        entropy_coefficient=settings.entropy_coefficient,
    )


def _grpo(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return grpo_loss(
        _tokens(batch),
        advantages=batch.signals.advantages,
        share=batch.share,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        kl_coefficient=settings.kl_coefficient,
        entropy_coefficient=settings.entropy_coefficient,
    )


def _drgrpo(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return drgrpo_loss(
        _tokens(batch),
        advantages=batch.signals.advantages,
        share=batch.share,
        max_tokens=batch.max_tokens,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        kl_coefficient=settings.kl_coefficient,
        entropy_coefficient=settings.entropy_coefficient,
    )


def _reinforce(batch: MicroBatch, settings: Algorithm) -> tuple[Tensor, Metrics]:
    assert batch.signals.advantages is not None
    return reinforce_loss(batch.scores.logprobs, advantages=batch.signals.advantages, share=batch.share)


def _tokens(batch: MicroBatch) -> Tokens:
    logprobs = batch.scores.logprobs
    return Tokens(
        logprobs=logprobs,
        entropy=batch.scores.entropy,
        old_logprobs=logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs,
        reference_logprobs=None if batch.reference is None else batch.reference.logprobs,
    )


def _divergence(batch: MicroBatch) -> Metrics:
    assert batch.reference is not None
    return {"kl": mean(k3(batch.scores.logprobs, batch.reference.logprobs))}


OBJECTIVES = {
    "tbrm": Objective(_tbrm, _group_means, needs_reference=True),
    "astarpo": Objective(_astarpo, _nothing, needs_reference=True, needs_values=True),
    "ppo": Objective(_ppo, _of_critic, needs_critic=True),
    "grpo": Objective(_grpo, _of_groups(divide=True)),
    "drgrpo": Objective(_drgrpo, _of_groups(divide=False)),
    "reinforce": Objective(_reinforce, _of_groups(divide=False)),
}
