"""The losses on a model small enough to know everything about: 4 actions, 3 steps, 64 trajectories, float64.

Closed forms (docs/algorithms), finite differences by autograd's own check, and the independence of every loss from how
a batch is split.
"""

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.ppo import value_loss
from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.signals import MicroBatch, Signals, Trajectory
from tbrm_train.learner.batch import collate
from tbrm_train.policy.policy import TokenScores

ACTIONS, STEPS = 4, 3
TRAJECTORIES = list(itertools.product(range(ACTIONS), repeat=STEPS))
# The state before step h is the prefix; states are numbered in order.
PREFIXES = [prefix for h in range(STEPS) for prefix in itertools.product(range(ACTIONS), repeat=h)]
STATE = {prefix: number for number, prefix in enumerate(PREFIXES)}
STATES = torch.tensor([STATE[path[:h]] for path in TRAJECTORIES for h in range(STEPS)])
TAKEN = torch.tensor([action for path in TRAJECTORIES for action in path])
SEGMENT_IDS = torch.arange(len(TRAJECTORIES)).repeat_interleave(STEPS)


def settings_of(name: str, **values: object) -> Any:
    """Those of some coefficients that an algorithm reads."""
    coefficients = ALGORITHMS[name].coefficients
    names = {field.name for field in fields(coefficients)}
    return coefficients(**{key: value for key, value in values.items() if key in names})


def table(seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(len(PREFIXES), ACTIONS, generator=generator, dtype=torch.float64)


def rewards(seed: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(len(TRAJECTORIES), generator=generator) < 0.3).double()


def scores(logits: Tensor) -> TokenScores:
    log_pi = logits.log_softmax(-1)
    entropy = -(log_pi.exp() * log_pi).sum(-1)
    return TokenScores(log_pi[STATES, TAKEN], logits.logsumexp(-1)[STATES], entropy[STATES])


def batch(
    logits: Tensor, reference: Tensor | None = None, r: Tensor | None = None, advantages: Tensor | None = None
) -> MicroBatch:
    """All trajectories as one micro-batch; advantages (64,) are of trajectories, and of each of their tokens."""
    signals = Signals() if advantages is None else Signals(advantages, token_advantages=advantages[SEGMENT_IDS])
    return MicroBatch(
        shard=BatchShard(SEGMENT_IDS, len(TRAJECTORIES), len(TRAJECTORIES), len(SEGMENT_IDS)),
        scores=scores(logits),
        rewards=rewards() if r is None else r,
        optimal_values=torch.zeros(len(TRAJECTORIES), dtype=torch.float64),
        reference=None if reference is None else scores(reference),
        old_logprobs=None,
        signals=signals,
        max_tokens=STEPS,
    )


def tbrm(logits: Tensor, reference: Tensor, r: Tensor, **settings: object) -> Tensor:
    return ALGORITHMS["tbrm"].loss(batch(logits, reference, r), replace(settings_of("tbrm", beta=0.3), **settings))[0]


def log_prob(logits: Tensor) -> Tensor:
    """log pi of each trajectory (64,)."""
    return scores(logits).logprobs.reshape(-1, STEPS).sum(-1)


# TBRM ----------------------------------------------------------------------------------------------------------------


def test_the_three_forms_of_the_residual_are_one() -> None:
    """Sum of Bellman errors; the paper's Algorithm 1; value plus log-ratio: equal up to rounding."""
    logits, reference, r, beta = table(1), table(2), rewards(), 0.3
    q = logits[STATES, TAKEN].reshape(-1, STEPS)
    v = logits.logsumexp(-1)[STATES].reshape(-1, STEPS)
    log_ref = scores(reference).logprobs.reshape(-1, STEPS)
    following = torch.cat([v[:, 1:], torch.zeros(len(v), 1, dtype=v.dtype)], dim=1)
    bellman = (q - following - log_ref).sum(-1) - r / beta
    algorithm_1 = q[:, 0] + (q - v)[:, 1:].sum(-1) - log_ref.sum(-1) - r / beta
    for residual in (bellman, algorithm_1):
        torch.testing.assert_close(
            tbrm(logits, reference, r), (beta * residual).square().mean(), rtol=1e-13, atol=1e-13
        )


def test_gradients_by_finite_differences() -> None:
    reference, r = table(2), rewards()
    for settings in ({}, {"center_value": True}, {"beta": 1.7}):
        assert torch.autograd.gradcheck(
            lambda logits, s=settings: tbrm(logits, reference, r, **s), table(1).requires_grad_()
        )


def test_the_gradient_of_a_logit_is_that_of_the_paper() -> None:
    """2 delta times onehot at the first token, onehot - pi at later ones (in units of reward: times beta squared)."""
    logits, reference, r, beta = table(1).requires_grad_(), table(2), rewards(), 0.3
    (found,) = torch.autograd.grad(tbrm(logits, reference, r), logits)
    with torch.no_grad():
        delta = logits.logsumexp(-1)[0] + log_prob(logits) - log_prob(reference) - r / beta
        pi = logits.softmax(-1)
        expected = torch.zeros_like(logits)
        for token, (row, state, action) in enumerate(zip(SEGMENT_IDS, STATES, TAKEN, strict=True)):
            step = torch.nn.functional.one_hot(action, ACTIONS).double()
            if token % STEPS:
                step = step - pi[state]
            expected[state] += 2 * beta**2 * delta[row] * step / len(TRAJECTORIES)
    torch.testing.assert_close(found, expected)


def test_a_constant_on_all_logits_moves_the_first_value_alone() -> None:
    logits, reference, r, beta, c = table(1), table(2), rewards(), 0.3, 2.5
    delta = logits.logsumexp(-1)[0] + log_prob(logits) - log_prob(reference) - r / beta
    torch.testing.assert_close(tbrm(logits + c, reference, r), (beta * (delta + c)).square().mean())
    centred_loss = tbrm(logits + c, reference + c, r, center_value=True)
    torch.testing.assert_close(centred_loss, tbrm(logits, reference, r, center_value=True))


def test_on_policy_the_expected_gradient_is_that_of_the_regularised_objective() -> None:
    """2 grad[KL(pi || ref) - E r / beta] + 2 E[delta] grad V(s_1), the expectation taken over all 64 trajectories."""
    logits, reference, r, beta = table(1).requires_grad_(), table(2), rewards(), 0.3
    log_pi, log_ref, value = log_prob(logits), log_prob(reference), logits.logsumexp(-1)[0]
    p = log_pi.exp()
    delta = value + log_pi - log_ref - r / beta
    (expected_gradient,) = torch.autograd.grad((p.detach() * delta.square()).sum(), logits, retain_graph=True)
    objective = (p * (log_pi - log_ref - r / beta)).sum()
    (right,) = torch.autograd.grad(2 * objective + 2 * (p * delta).sum().detach() * value, logits)
    torch.testing.assert_close(expected_gradient, right, rtol=1e-9, atol=1e-10)


def test_minimising_it_off_policy_reaches_the_closed_form() -> None:
    """log pi* = log ref + r / beta - V*, V* = log E_ref exp(r / beta), from uniform data, to 1e-7."""
    reference, r, beta = table(2), rewards(), 0.3
    logits = table(1).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits],
        max_iter=2000,
        tolerance_grad=1e-14,
        tolerance_change=1e-18,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = tbrm(logits, reference, r)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(5):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    best = log_prob(reference) + r / beta
    best = best - best.logsumexp(0)
    assert (log_prob(logits) - best).abs().max() < 1e-7


def test_freezing_the_value_stops_its_gradient_and_changes_no_number() -> None:
    logits, reference, r = table(1).requires_grad_(), table(2), rewards()
    frozen, free = tbrm(logits, reference, r, freeze_value=True), tbrm(logits, reference, r)
    assert frozen.item() == free.item()
    (gradient,) = torch.autograd.grad(frozen, logits)
    # Without the value every token's gradient is onehot - pi, which sums to zero over the actions.
    assert gradient.sum(-1).abs().max() < 1e-12


def test_a_centred_reward_is_the_reward_less_its_groups_mean() -> None:
    """One alone has nobody to compare with and keeps its reward; without the switch nobody's mean is asked for."""
    batch_of = ((0, 1.0), (0, 0.0), (1, 1.0), (1, 1.0), (2, 1.0))
    whole = collate([Trajectory((1,), (2,), reward, group) for group, reward in batch_of])
    means = ALGORITHMS["tbrm"].signals(whole, settings_of("tbrm", center_reward=True)).group_means
    assert means is not None
    assert (whole.rewards - means).tolist() == [0.5, -0.5, 0.0, 0.0, 1.0]
    assert ALGORITHMS["tbrm"].signals(whole, settings_of("tbrm")) == Signals()


# Every loss ----------------------------------------------------------------------------------------------------------


def micro_batch(update: MicroBatch, chosen: Tensor) -> MicroBatch:
    """The micro-batch of some of the trajectories; counts stay those of the whole update."""
    tokens = torch.isin(update.shard.segment_ids, chosen)
    assert update.reference is not None
    assert update.old_logprobs is not None
    assert update.signals.advantages is not None
    assert update.signals.token_advantages is not None
    return replace(
        update,
        shard=replace(
            update.shard,
            segment_ids=torch.searchsorted(chosen, update.shard.segment_ids[tokens]),
            num_trajectories=len(chosen),
        ),
        scores=TokenScores(*(values[tokens] for values in update.scores)),
        rewards=update.rewards[chosen],
        optimal_values=update.optimal_values[chosen],
        reference=TokenScores(*(values[tokens] for values in update.reference)),
        old_logprobs=update.old_logprobs[tokens],
        signals=Signals(
            advantages=update.signals.advantages[chosen], token_advantages=update.signals.token_advantages[tokens]
        ),
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_loss_does_not_depend_on_the_split(name: str) -> None:
    """Micro-batches of 1, of 7, of all: their losses and gradients sum to the same."""
    settings = settings_of(name, beta=0.3, kl_coefficient=0.1, entropy_coefficient=0.05)
    advantages = torch.randn(len(TRAJECTORIES), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = []
    for size in (1, 7, len(TRAJECTORIES)):
        logits = table(1).requires_grad_()
        loss: Tensor = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(TRAJECTORIES), size):
            chosen = torch.arange(start, min(start + size, len(TRAJECTORIES)))
            update = replace(
                batch(logits, table(2), advantages=advantages), old_logprobs=scores(table(1) + 0.1 * table(3)).logprobs
            )
            loss = loss + ALGORITHMS[name].loss(micro_batch(update, chosen), settings)[0]
        found.append((loss.detach(), torch.autograd.grad(loss, logits)[0]))
    for loss, gradient in found[1:]:
        torch.testing.assert_close(loss, found[0][0])
        torch.testing.assert_close(gradient, found[0][1])


def exact_policy_gradient(logits: Tensor, r: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad((log_prob(logits).exp() * r).sum(), logits)
    return gradient


@pytest.mark.parametrize("name", ["ppo", "grpo", "drgrpo", "reinforce"])
def test_on_policy_the_surrogate_has_the_gradient_of_the_expected_reward(name: str) -> None:
    """With advantages r, weighed by pi, minus the loss climbs E r; only the divisor differs."""
    logits, r = table(1).requires_grad_(), rewards()
    p = log_prob(logits).exp().detach()
    loss, _ = ALGORITHMS[name].loss(batch(logits, advantages=p * r), settings_of(name))
    (gradient,) = torch.autograd.grad(loss, logits)
    divisor = len(TRAJECTORIES) if name == "reinforce" else len(SEGMENT_IDS)
    torch.testing.assert_close(-gradient * divisor, exact_policy_gradient(logits, r))


ONE = BatchShard(torch.zeros(1, dtype=torch.long), 1, 1, 1)


def clipped(ratio: float, advantage: float) -> tuple[float, float]:
    """Loss and gradient in log pi of one token whose ratio and advantage are given, clip 0.2."""
    log_pi = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    one = MicroBatch(
        scores=TokenScores(log_pi, zero, zero),
        shard=ONE,
        rewards=zero,
        optimal_values=zero,
        reference=None,
        old_logprobs=zero,
        signals=Signals(token_advantages=torch.tensor([advantage], dtype=torch.float64)),
        max_tokens=1,
    )
    loss, _ = ALGORITHMS["ppo"].loss(one, settings_of("ppo"))
    return loss.item(), torch.autograd.grad(loss, log_pi)[0].item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.2),  # inside
        (1.3, 2.0, -2.4, 0.0),  # already rewarded enough
        (0.7, 2.0, -1.4, -1.4),  # too unlikely a good token: still pulled up
        (0.7, -2.0, 1.6, 0.0),  # already punished enough
        (1.3, -2.0, 2.6, 2.6),  # too likely a bad token: still pushed down
    ],
)
def test_the_clip_takes_away_the_gradient_only_of_going_further(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    assert clipped(ratio, advantage) == pytest.approx((loss, slope))


def advantages_of(name: str, items: list[Trajectory], penalties: list[Tensor] | None = None) -> list[float]:
    found = ALGORITHMS[name].signals(collate(items, penalties=penalties), settings_of(name)).advantages
    assert found is not None
    return found.tolist()


def test_groups_give_their_mean_and_grpo_their_deviation_too() -> None:
    items = [Trajectory((1,), (2, 3), reward, 0) for reward in (1.0, 0.0, 0.0)]
    deviation = math.sqrt((2 / 3) ** 2 / 2 + 2 * (1 / 3) ** 2 / 2)
    assert advantages_of("drgrpo", items)[0] == pytest.approx(2 / 3)
    assert advantages_of("grpo", items)[0] == pytest.approx(2 / 3 / (deviation + 1e-6))
    same = [replace(item, reward=1.0) for item in items]
    for name in ("grpo", "drgrpo", "reinforce"):
        assert advantages_of(name, same) == [0.0] * 3, "a group of equal rewards teaches nothing"


def test_a_penalty_in_the_reward_is_taken_off_before_the_group_is_compared() -> None:
    """Equal rewards, one response 2 nats further from the reference at 0.25 a nat: 0.5 less, so 0.25 below the mean."""
    items = [Trajectory((1,), (2, 3), 1.0, 0), Trajectory((1,), (4,), 1.0, 0)]
    penalties = [torch.tensor([0.3, 0.2]), torch.tensor([0.0])]
    for name in ("drgrpo", "reinforce"):
        assert advantages_of(name, items, penalties) == pytest.approx([-0.25, 0.25])


def test_gae_is_its_definition() -> None:
    """A_h = sum over l of (gamma lam)^l (r_{h+l} + gamma V_{h+l+1} - V_{h+l}), whitened over the batch."""
    gamma, lam = 0.9, 0.7
    items = [Trajectory((1,), (2, 3, 4), 1.0, 0), Trajectory((1,), (5,), 0.0, 1)]
    values = [torch.tensor([0.3, -0.2, 0.5]), torch.tensor([0.1])]
    found = ALGORITHMS["ppo"].signals(collate(items, values=values), settings_of("ppo", gamma=gamma, lam=lam))
    plain = []
    for item, value in zip(items, values, strict=True):
        steps = len(value)
        v = [*value.tolist(), 0.0]
        r = [0.0] * (steps - 1) + [item.reward]
        errors = [r[h] + gamma * v[h + 1] - v[h] for h in range(steps)]
        plain.append([sum((gamma * lam) ** k * errors[h + k] for k in range(steps - h)) for h in range(steps)])
    flat = torch.tensor([a for row in plain for a in row])
    assert found.token_advantages is not None
    assert found.returns is not None
    torch.testing.assert_close(found.token_advantages, (flat - flat.mean()) / (flat.std() + 1e-8))
    torch.testing.assert_close(found.returns, flat + torch.cat(values))


@pytest.mark.parametrize(
    ("value", "old", "target", "loss"),
    [(0.2, 0.0, 1.0, 0.32), (0.9, 0.0, 1.0, 0.125), (0.9, 0.0, 0.0, 0.405), (-0.9, 0.0, -1.0, 0.125)],
)
def test_the_value_loss_takes_the_larger_of_both_errors(value: float, old: float, target: float, loss: float) -> None:
    found, _ = value_loss(
        torch.tensor([value]), old_values=torch.tensor([old]), returns=torch.tensor([target]), shard=ONE
    )
    assert found.item() == pytest.approx(loss)


def test_astarpo_is_minimal_at_the_regularised_optimum() -> None:
    """With the true V*, beta log(pi* / ref) = r - V* on every trajectory, so the loss is 0 there and nowhere else."""
    reference, r, beta = table(2), rewards(), 0.3
    optimum = log_prob(reference) + r / beta
    v_star = beta * optimum.logsumexp(0)
    # The optimum as a table: logits of a state are the log-masses of its subtrees.
    mass = (optimum - optimum.logsumexp(0)).exp()

    def below(start: tuple[int, ...]) -> Tensor:
        return mass[torch.tensor([path[: len(start)] == start for path in TRAJECTORIES])].sum()

    logits = torch.stack([torch.stack([below((*prefix, a)) for a in range(ACTIONS)]) for prefix in PREFIXES]).log()
    loss = ALGORITHMS["astarpo"].loss

    def at(table_: Tensor) -> float:
        update = replace(batch(table_, reference, r), optimal_values=v_star.expand(len(TRAJECTORIES)))
        return loss(update, settings_of("astarpo", beta=beta))[0].item()

    assert at(logits) == pytest.approx(0, abs=1e-20)
    assert at(logits + 0.1 * table(4)) > 1e-6


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_logged_number_has_its_page(name: str) -> None:
    from pathlib import Path

    advantages = torch.ones(len(TRAJECTORIES), dtype=torch.float64)
    settings = settings_of(name, kl_coefficient=0.1)
    _, metrics = ALGORITHMS[name].loss(batch(table(1), table(2), advantages=advantages), settings)
    page = (Path(__file__).resolve().parents[3] / "docs" / "algorithms" / f"{name}.md").read_text()
    for metric in metrics:
        assert f"`{metric}`" in page, f"docs/algorithms/{name}.md does not define {metric}"
