"""PPO, GRPO, Dr.GRPO and REINFORCE: clipping at its edges, what each divides by, the policy gradient itself."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tbrm_train.algorithms.advantages import group_advantages, penalised
from tbrm_train.algorithms.clipped import Tokens
from tbrm_train.algorithms.drgrpo import drgrpo_loss
from tbrm_train.algorithms.grpo import grpo_loss
from tbrm_train.algorithms.ppo import ppo_loss, value_loss
from tbrm_train.algorithms.reinforce import reinforce_loss
from tbrm_train.algorithms.shard import BatchShard

torch.set_num_threads(1)


def one_token() -> BatchShard:
    return BatchShard(torch.tensor([0]), 1, 1, 1)


def drawn(ratios: list[float]) -> tuple[Tokens, Tensor]:
    """Return tokens whose policy has moved by these ratios, and the leaf that their gradient goes to."""
    leaf = torch.tensor(ratios, dtype=torch.float64).log().requires_grad_()
    zeros = torch.zeros(len(ratios), dtype=torch.float64)
    return Tokens(leaf - 1.5, zeros, zeros - 1.5), leaf


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.19, 1.0, -1.19, -1.19),
        (1.31, 1.0, -1.3, 0.0),  # gone far enough towards what is good: no more
        (1.31, -1.0, 1.31, 1.31),  # towards what is bad: all the way back
        (0.79, -1.0, 0.8, 0.0),
        (0.81, -1.0, 0.81, 0.81),
        (0.1, 1.0, -0.1, -0.1),
        (5.0, 0.0, 0.0, 0.0),
    ],
)
def test_clipping_at_its_edges(ratio: float, advantage: float, loss: float, slope: float) -> None:
    """A ratio r has d(r A) / d log pi = r A; clipped, the gradient is exactly 0. Here 0.2 below and 0.3 above."""
    tokens, leaf = drawn([ratio])
    found, metrics = ppo_loss(
        tokens, advantages=torch.tensor([advantage]), shard=one_token(), clip_low=0.2, clip_high=0.3
    )
    (gradient,) = torch.autograd.grad(found, leaf)
    assert float(found.detach()) == pytest.approx(loss)
    assert float(gradient) == pytest.approx(slope)
    clipped = slope == 0 and advantage != 0
    assert metrics["clip_fraction"].value == clipped
    assert metrics["clip_fraction/high"].value == (clipped and advantage > 0)
    assert metrics["clip_fraction/low"].value == (clipped and advantage < 0)


def test_a_ratio_beyond_floats_is_no_nan() -> None:
    tokens, leaf = drawn([1.0, 1.0])
    far = Tokens(leaf + torch.tensor([900.0, -900.0]), tokens.entropy, tokens.old_logprobs)
    shard = BatchShard(torch.tensor([0, 0]), 1, 1, 2)
    for advantages in ([0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]):
        loss, metrics = ppo_loss(far, advantages=torch.tensor(advantages), shard=shard)
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        assert bool(torch.isfinite(gradient).all())
        assert math.isfinite(float(loss.detach()))
        assert all(math.isfinite(item.value) for item in metrics.values())


def test_before_the_first_update_the_surrogate_is_the_plain_policy_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    logprobs = torch.randn(6, generator=draw, dtype=torch.float64, requires_grad=True)
    advantages = torch.randn(6, generator=draw, dtype=torch.float64)
    shard = BatchShard(torch.tensor([0, 0, 1, 1, 1, 2]), 3, 3, 6)
    same = Tokens(logprobs, torch.zeros(6), logprobs.detach())
    loss, metrics = ppo_loss(same, advantages=advantages, shard=shard)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    torch.testing.assert_close(gradient, -advantages / 6, rtol=1e-12, atol=0)
    assert metrics["ratio"].value == 1.0
    assert metrics["kl_old"].value == 0.0


def test_penalty_and_entropy_bonus_push_as_they_should() -> None:
    """A step down the loss lowers log pi where it lies above the reference's, and raises entropy."""
    logprobs = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    entropy = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    tokens = Tokens(logprobs, entropy, logprobs.detach(), torch.tensor([-1.5], dtype=torch.float64))
    loss, metrics = ppo_loss(
        tokens, advantages=torch.zeros(1), shard=one_token(), kl_coefficient=0.1, entropy_coefficient=0.01
    )
    penalty = math.exp(-0.5) - 1 + 0.5
    assert metrics["kl"].value == pytest.approx(penalty)
    assert float(loss.detach()) == pytest.approx(0.1 * penalty - 0.01 * 0.4)
    on_logprob, on_entropy = torch.autograd.grad(loss, (logprobs, entropy))
    assert float(on_logprob) == pytest.approx(0.1 * (1 - math.exp(-0.5)))
    assert float(on_entropy) == pytest.approx(-0.01)
    with pytest.raises(AssertionError, match="needs the log-probabilities of the reference"):
        ppo_loss(drawn([1.0])[0], advantages=torch.zeros(1), shard=one_token(), kl_coefficient=0.1)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope"),
    [
        (0.3, 0.0, 1.0, 0.5 * 0.49, -0.7),
        (1.0, 0.0, 1.0, 0.5 * 0.25, 0.0),  # right, but it went further than 0.5: no gradient
        (2.0, 0.0, 1.0, 0.5, 1.0),  # past the target: the plain error is larger
        (-1.0, 0.0, 1.0, 0.5 * 4.0, -2.0),  # away from the target: all the way back
    ],
)
def test_the_critic_may_move_by_half_a_reward(
    value: float, old: float, target: float, loss: float, slope: float
) -> None:
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    found, metrics = value_loss(
        values, old_values=torch.tensor([old]), returns=torch.tensor([target]), shard=one_token(), value_clip=0.5
    )
    assert float(found.detach()) == pytest.approx(loss)
    (gradient,) = torch.autograd.grad(found, values)
    assert float(gradient) == pytest.approx(slope)
    assert metrics["critic/clip_fraction"].value == (slope == 0.0)


def weights_of(loss: str, lengths: list[int], advantages: Tensor) -> list[Tensor]:
    """Return -d loss / d log pi of every token, by trajectory, at ratio 1."""
    num = sum(lengths)
    logprobs = torch.zeros(num, dtype=torch.float64, requires_grad=True)
    tokens = Tokens(logprobs, torch.zeros(num), torch.zeros(num))
    segment_ids = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    shard = BatchShard(segment_ids, len(lengths), len(lengths), num)
    if loss == "drgrpo":
        found, _ = drgrpo_loss(tokens, advantages=advantages, shard=shard, max_tokens=10)
    else:
        found, _ = grpo_loss(tokens, advantages=advantages, shard=shard)
    (gradient,) = torch.autograd.grad(found, logprobs)
    return list(torch.split(-gradient, lengths))


def test_what_grpo_and_drgrpo_divide_by() -> None:
    lengths, advantages = [2, 8], torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert weights_of("grpo", lengths, advantages)[1].tolist() == pytest.approx([-1 / 10] * 8)
    assert weights_of("drgrpo", lengths, advantages)[1].tolist() == pytest.approx([-1 / 20] * 8)
    # A longer response elsewhere changes what a token weighs for GRPO, and not for Dr.GRPO.
    longer = [20, 8]
    assert weights_of("grpo", longer, advantages)[1].tolist() == pytest.approx([-1 / 28] * 8)
    assert weights_of("drgrpo", longer, advantages)[1].tolist() == pytest.approx([-1 / 20] * 8)


def test_scaling_rewards_is_nothing_to_grpo_and_a_factor_to_drgrpo() -> None:
    rewards, groups = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1])
    for divide, factor in ((True, 1.0), (False, 100.0)):
        plain, _ = group_advantages(rewards, groups, divide=divide)
        scaled, _ = group_advantages(100 * rewards, groups, divide=divide)
        torch.testing.assert_close(scaled, factor * plain, rtol=1e-5, atol=0)


@pytest.mark.parametrize("divide", [True, False])
def test_a_batch_of_equal_rewards_has_no_gradient(divide: bool) -> None:
    rewards, groups = torch.full((6,), 0.1), torch.tensor([0, 0, 0, 1, 1, 1])
    advantages, metrics = group_advantages(rewards, groups, divide=divide)
    assert metrics["zero_variance_groups"].value == 1.0
    for loss in ("grpo", "paper", "drgrpo"):
        for part in weights_of(loss, [1, 2, 3, 4, 5, 6], advantages):
            assert part.tolist() == [0.0] * len(part)


PATHS = list(itertools.product(range(3), repeat=2))  # two tokens of three letters
STATES = {(): 0, (0,): 1, (1,): 2, (2,): 3}


def path_logprobs(logits: Tensor) -> Tensor:
    """Return log pi of every token of every path (18,)."""
    log_pi = logits.log_softmax(1)
    return torch.stack([log_pi[STATES[path[:step]], path[step]] for path in PATHS for step in (0, 1)])


def test_reinforce_is_the_gradient_of_the_expected_reward_whatever_the_baseline() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([0.0, 1.0, 0.3, 0.0, 0.0, 1.0, 0.7, 0.2, 0.0], dtype=torch.float64)
    logprobs = path_logprobs(logits)
    probability = logprobs.reshape(9, 2).sum(1).exp()
    (true,) = torch.autograd.grad(-(probability * rewards).sum(), logits, retain_graph=True)
    for baseline in (0.0, 0.4, -3.0):
        expected = torch.zeros_like(logits)
        for index in range(9):
            loss, _ = reinforce_loss(
                logprobs[2 * index : 2 * index + 2],
                advantages=rewards[index : index + 1] - baseline,
                shard=BatchShard(torch.tensor([0, 0]), 1, 1, 2),
            )
            expected += probability[index].detach() * torch.autograd.grad(loss, logits, retain_graph=True)[0]
        torch.testing.assert_close(expected, true, rtol=1e-12, atol=1e-14)


def test_reinforce_with_penalised_rewards_rests_at_the_regularised_optimum() -> None:
    """r - beta log(pi / ref) is V*, a constant, at pi* = ref exp(r / beta) / Z: there nothing is left to learn."""
    beta = 0.5
    base = torch.randn(4, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rewards = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    log_ref = path_logprobs(base)
    weights = (log_ref.reshape(9, 2).sum(1) + rewards / beta).exp().reshape(3, 3)
    optimum = torch.cat([weights.sum(1)[None], weights]).log().requires_grad_()
    shard = BatchShard(torch.arange(9).repeat_interleave(2), 9, 9, 18)
    for logits, rests in ((optimum, True), (base.clone().requires_grad_(), False)):
        logprobs = path_logprobs(logits)
        advantages = penalised(rewards, beta * (logprobs - log_ref), shard=shard)
        if rests:
            torch.testing.assert_close(advantages, advantages[:1].expand(9), rtol=0, atol=1e-12)
        probability = logprobs.reshape(9, 2).sum(1).exp().detach()
        loss, _ = reinforce_loss(logprobs, advantages=9 * probability * advantages, shard=shard)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (float(gradient.abs().max()) < 1e-12) == rests
