"""TBRM against its definition: three equal forms, the gradient of each logit, its switches, the policy gradient in it.

A policy is a table of logits, one row a state; states are the beginnings of trajectories, all of which are enumerated.
"""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.tbrm import Reference, reference_of, tbrm_loss

torch.set_num_threads(1)
ACTIONS, STEPS, BETA = 4, 3, 0.3
TRAJECTORIES = list(itertools.product(range(ACTIONS), repeat=STEPS))
STATES = [prefix for length in range(STEPS) for prefix in itertools.product(range(ACTIONS), repeat=length)]
ROW = {state: row for row, state in enumerate(STATES)}
# The states that each trajectory goes through, and what it does there: (64 * 3,) each.
VISITED = torch.tensor([ROW[path[:step]] for path in TRAJECTORIES for step in range(STEPS)])
CHOSEN = torch.tensor([action for path in TRAJECTORIES for action in path])
SHARD = BatchShard(torch.arange(64).repeat_interleave(STEPS), 64, 64, 64 * STEPS)


def table(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(len(STATES), ACTIONS, generator=draw, dtype=torch.float64, requires_grad=True)


def scores(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log pi and logsumexp of every token of every trajectory."""
    value = logits.logsumexp(dim=1)
    return (logits - value[:, None])[VISITED, CHOSEN], value[VISITED]


def binary_rewards(seed: int = 5) -> Tensor:
    return torch.randint(2, (64,), generator=torch.Generator().manual_seed(seed)).double()


def reference(logits: Tensor) -> Reference:
    return reference_of(*scores(logits.detach()), shard=SHARD)


def residuals(logits: Tensor, base: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return forms (a), (b) and (c) of the paper's residual, with r / beta, (64,) each."""
    value = logits.logsumexp(dim=1)
    log_ref = scores(base)[0].reshape(64, STEPS).sum(1)
    own = logits[VISITED, CHOSEN].reshape(64, STEPS)
    values = value[VISITED].reshape(64, STEPS)
    log_pi = own - values
    following = torch.cat([values[:, 1:], torch.zeros(64, 1, dtype=torch.float64)], dim=1)
    first = (own - following).sum(1) - log_ref - rewards / BETA
    second = own[:, 0] + log_pi[:, 1:].sum(1) - log_ref - rewards / BETA
    third = values[:, 0] + log_pi.sum(1) - log_ref - rewards / BETA
    return first, second, third


def loss_of(logits: Tensor, base: Tensor, rewards: Tensor, **switches: Any) -> Tensor:
    logprobs, logsumexp = scores(logits)
    return tbrm_loss(
        logprobs, logsumexp=logsumexp, reference=reference(base), rewards=rewards, shard=SHARD, beta=BETA, **switches
    )[0]


def test_the_three_forms_are_equal_and_the_loss_is_their_mean_square() -> None:
    rewards = binary_rewards()
    for seed in range(20):
        logits, base = table(seed), table(100 + seed)
        first, second, third = residuals(logits, base, rewards)
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
        torch.testing.assert_close(second, third, rtol=0, atol=1e-12)
        expected = (BETA * third).square().mean()
        torch.testing.assert_close(loss_of(logits, base, rewards), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("switch", ["center_value", "freeze_value", None])
def test_finite_differences_of_every_logit(switch: str | None) -> None:
    logits, base, rewards = table(1), table(2), binary_rewards()
    if switch != "freeze_value":
        switches = {switch: True} if switch else {}
        assert torch.autograd.gradcheck(lambda found: loss_of(found, base, rewards, **switches), logits)
        return
    # What is frozen has no gradient: the loss with V(s_1) as a constant.
    (found,) = torch.autograd.grad(loss_of(logits, base, rewards, freeze_value=True), logits)
    constant = BETA * logits.detach()[0].logsumexp(0)
    log_ratio = scores(logits)[0].reshape(64, STEPS).sum(1) - reference(base).logprob
    (expected,) = torch.autograd.grad((constant + BETA * log_ratio - rewards).square().mean(), logits)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_gradient_of_each_logit_is_onehot_first_and_onehot_minus_pi_later() -> None:
    logits, base, rewards = table(3), table(4), binary_rewards()
    per_token = logits.detach()[VISITED].requires_grad_()  # (192, 4): each trajectory its own logits
    log_pi, value = per_token.log_softmax(1)[torch.arange(192), CHOSEN], per_token.logsumexp(1)
    loss, _ = tbrm_loss(
        log_pi, logsumexp=value, reference=reference(base), rewards=rewards, shard=SHARD, beta=BETA
    )  # fmt: skip
    (found,) = torch.autograd.grad(loss, per_token)
    delta = BETA * residuals(logits, base, rewards)[2].detach()
    onehot = torch.nn.functional.one_hot(CHOSEN, ACTIONS).double()
    direction = onehot - per_token.detach().softmax(1)
    direction[::STEPS] = onehot[::STEPS]
    expected = 2 * BETA / 64 * delta.repeat_interleave(STEPS)[:, None] * direction
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_a_constant_on_all_logits_of_a_state_moves_delta_at_the_first_state_only() -> None:
    logits, base, rewards = table(6), table(7), binary_rewards()
    plain = residuals(logits, base, rewards)[2]
    for row, state in enumerate(STATES):
        moved = logits.detach().clone()
        moved[row] += 1.7
        change = residuals(moved, base, rewards)[2] - plain
        expected = torch.full_like(change, 1.7 if state == () else 0.0)
        torch.testing.assert_close(change, expected, rtol=0, atol=1e-12)


def test_on_policy_the_expected_gradient_is_a_policy_gradient_and_a_value_term() -> None:
    """E grad delta^2 = 2 grad[KL(pi || ref) - E r / beta] + 2 E[delta] grad V; ours is beta^2 times that."""
    for seed in range(5):
        logits, base, rewards = table(seed), table(50 + seed), binary_rewards(seed)
        logprobs, logsumexp = scores(logits)
        probability = logprobs.reshape(64, STEPS).sum(1).exp()
        delta = residuals(logits, base, rewards)[2]
        (expected,) = torch.autograd.grad((probability.detach() * delta.square()).sum(), logits, retain_graph=True)
        log_ratio = logprobs.reshape(64, STEPS).sum(1) - reference(base).logprob
        objective = (probability * (log_ratio - rewards / BETA)).sum()
        value_term = (probability * delta).sum().detach() * logsumexp[0]
        (derived,) = torch.autograd.grad(2 * objective + 2 * value_term, logits, retain_graph=True)
        torch.testing.assert_close(expected, derived, rtol=1e-10, atol=1e-12)
        # The loss itself, each trajectory a shard of its own and as often there as pi says.
        total = torch.zeros_like(logits)
        for index in range(64):
            tokens = slice(index * STEPS, (index + 1) * STEPS)
            alone = BatchShard(torch.zeros(STEPS, dtype=torch.long), 1, 1, STEPS)
            base_alone = Reference(*(part[index : index + 1] for part in reference(base)))
            loss, _ = tbrm_loss(
                logprobs[tokens], logsumexp=logsumexp[tokens], reference=base_alone, rewards=rewards[index : index + 1],
                shard=alone, beta=BETA,
            )  # fmt: skip
            (part,) = torch.autograd.grad(loss, logits, retain_graph=True)
            total += probability[index].detach() * part
        torch.testing.assert_close(total, BETA**2 * derived, rtol=1e-10, atol=1e-12)


def test_centred_value_starts_at_minus_reward_whatever_the_offset_of_the_logits() -> None:
    """At the reference itself, delta is V - r; with center_value it is -r, and a constant on all logits is nothing."""
    base, rewards = table(8), binary_rewards()
    shifted = (base.detach() + 40.0).requires_grad_()
    torch.testing.assert_close(
        loss_of(shifted, shifted, rewards, center_value=True), rewards.square().mean(), rtol=1e-12, atol=1e-12
    )
    raw = (BETA * base.detach()[0].logsumexp(0) + BETA * 40 - rewards).square().mean()
    torch.testing.assert_close(loss_of(shifted, shifted, rewards), raw, rtol=1e-12, atol=0)


def test_centred_rewards_are_rewards_less_the_means_of_their_groups() -> None:
    logits, base, rewards = table(9), table(10), binary_rewards()
    means = rewards.reshape(16, 4).mean(1).repeat_interleave(4)
    logprobs, logsumexp = scores(logits)
    given: dict[str, Any] = {"logsumexp": logsumexp, "reference": reference(base), "shard": SHARD, "beta": BETA}
    centred = tbrm_loss(logprobs, rewards=rewards, group_means=means, center_reward=True, **given)[0]
    assert torch.equal(centred, tbrm_loss(logprobs, rewards=rewards - means, **given)[0])
    ignored = tbrm_loss(logprobs, rewards=rewards, group_means=means, **given)[0]
    assert torch.equal(ignored, loss_of(logits, base, rewards)), "the switch decides, not the means"
    with pytest.raises(AssertionError, match="needs the means of the groups"):
        tbrm_loss(logprobs, rewards=rewards, center_reward=True, **given)


def test_replayed_trajectories_need_two_floats_of_the_reference() -> None:
    """A cache of (log pi_ref, V_ref) gives the same loss as the tokens did, in float32 too."""
    logits, base, rewards = table(11), table(12), binary_rewards()
    cached = [(float(a), float(b)) for a, b in zip(*reference(base), strict=True)]
    again = Reference(*(torch.tensor(part, dtype=torch.float64) for part in zip(*cached, strict=True)))
    logprobs, logsumexp = scores(logits)
    given: dict[str, Any] = {
        "logsumexp": logsumexp,
        "rewards": rewards,
        "shard": SHARD,
        "beta": BETA,
        "center_value": True,
    }
    ours = tbrm_loss(logprobs, reference=again, **given)[0]
    assert torch.equal(ours, loss_of(logits, base, rewards, center_value=True))


def test_an_empty_response_is_its_reward_and_no_gradient() -> None:
    logprobs = torch.tensor([-0.5, -0.25], requires_grad=True)
    logsumexp = torch.tensor([3.0, 9.0], requires_grad=True)
    shard = BatchShard(torch.tensor([1, 1]), 3, 3, 2)  # the first and the last of three are empty
    nothing = reference_of(torch.zeros(2), torch.zeros(2), shard=shard)
    loss, metrics = tbrm_loss(
        logprobs, logsumexp=logsumexp, reference=nothing, rewards=torch.tensor([1.0, 0.0, 0.5]), shard=shard, beta=0.5
    )
    assert float(loss.detach()) == pytest.approx((1 + (0.5 * (3 - 0.75)) ** 2 + 0.25) / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logsumexp.grad is not None
    assert logsumexp.grad.tolist() == [pytest.approx(2 * 0.5 * 1.125 / 3), 0.0]
    assert metrics["empty"].value == pytest.approx(2 / 3)
    assert metrics["value"].value == 3.0, "of those that have a first state to act in"


def test_a_batch_of_empty_responses_has_no_value() -> None:
    tokens = torch.zeros(0, requires_grad=True)
    shard = BatchShard(torch.zeros(0, dtype=torch.long), 2, 2, 0)
    nothing = reference_of(tokens, tokens, shard=shard)
    loss, metrics = tbrm_loss(
        tokens, logsumexp=tokens, reference=nothing, rewards=torch.tensor([1.0, 0.0]), shard=shard, beta=0.5
    )
    assert float(loss.detach()) == 0.5
    assert metrics["value"].value != metrics["value"].value, "NaN, not 0"


def test_sums_keep_the_signal_of_three_thousand_float32_tokens() -> None:
    """Log-probabilities that sum to -3,000 and differ from the reference's by 1e-6 each: 3 thousandths in all."""
    draw = torch.Generator().manual_seed(0)
    log_ref = -2 * torch.rand(3000, generator=draw, dtype=torch.float64)
    shard = BatchShard(torch.zeros(3000, dtype=torch.long), 1, 1, 3000)
    single = (log_ref + 1e-6).float()
    base = reference_of(log_ref.float(), torch.zeros(3000), shard=shard)
    _, metrics = tbrm_loss(
        single, logsumexp=torch.zeros(3000), reference=base, rewards=torch.zeros(1), shard=shard, beta=1.0
    )
    exact = float((single.double() - log_ref.float().double()).sum())
    assert metrics["log_ratio"].value == pytest.approx(exact, abs=1e-9)
    rounded = float(single.bfloat16().sum() - log_ref.bfloat16().sum())
    assert abs(rounded - exact) > 0.9 * exact, "in bfloat16 it is lost"
