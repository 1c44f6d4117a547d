"""Advantages: GAE against its double sum, group baselines against enumeration, no 0/0 anywhere."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tbrm_train.algorithms.advantages import gae, group_advantages, group_means, penalised, token_rewards, whiten
from tbrm_train.algorithms.shard import BatchShard

torch.set_num_threads(1)
some_lengths = st.lists(st.integers(0, 7), max_size=6)
fractions = st.floats(0, 1)


def segment_ids_of(lengths: list[int]) -> Tensor:
    return torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths, dtype=torch.long))


def gae_by_definition(earned: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """A_t = sum over l of (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_{t+l})."""
    after = [*values, 0.0]
    errors = [earned[t] + gamma * after[t + 1] - after[t] for t in range(len(values))]
    return [sum((gamma * lam) ** back * error for back, error in enumerate(errors[t:])) for t in range(len(values))]


@given(some_lengths, fractions, fractions, st.integers(0, 99))
def test_gae_is_its_double_sum_on_every_trajectory(lengths: list[int], gamma: float, lam: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    earned = torch.randn(sum(lengths), generator=draw, dtype=torch.float64)
    values = torch.randn(sum(lengths), generator=draw, dtype=torch.float64)
    advantages, returns = gae(earned, values, segment_ids=segment_ids_of(lengths), gamma=gamma, lam=lam)
    expected = [
        number
        for one, other in zip(torch.split(earned, lengths), torch.split(values, lengths), strict=True)
        for number in gae_by_definition(one.tolist(), other.tolist(), gamma, lam)
    ]
    torch.testing.assert_close(advantages, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(returns, advantages + values, rtol=1e-12, atol=1e-12)


@given(some_lengths, st.integers(0, 99))
def test_without_discount_returns_are_the_rewards_to_come(lengths: list[int], seed: int) -> None:
    """gamma = lam = 1: the return of every token is the reward to come, whatever the critic predicts."""
    draw = torch.Generator().manual_seed(seed)
    segment_ids, rewards = segment_ids_of(lengths), torch.randn(len(lengths), generator=draw)
    values = torch.randn(sum(lengths), generator=draw)
    earned = token_rewards(rewards, segment_ids=segment_ids)
    _, returns = gae(earned, values, segment_ids=segment_ids, gamma=1.0, lam=1.0)
    torch.testing.assert_close(returns, rewards[segment_ids], rtol=1e-5, atol=1e-5)


def test_a_perfect_critic_leaves_no_advantage() -> None:
    segment_ids = segment_ids_of([3, 2])
    rewards = torch.tensor([1.0, 0.0])
    values = 0.9 ** torch.tensor([2.0, 1.0, 0.0, 1.0, 0.0]) * rewards[segment_ids]
    earned = token_rewards(rewards, segment_ids=segment_ids)
    advantages, _ = gae(earned, values, segment_ids=segment_ids, gamma=0.9, lam=0.7)
    torch.testing.assert_close(advantages, torch.zeros(5), rtol=0, atol=1e-6)


@given(some_lengths, st.integers(0, 99))
def test_rewards_are_earned_at_the_last_token_and_penalties_at_each(lengths: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    segment_ids, rewards = segment_ids_of(lengths), torch.randn(len(lengths), generator=draw)
    penalties = torch.rand(sum(lengths), generator=draw)
    plain = token_rewards(rewards, segment_ids=segment_ids)
    for index, part in enumerate(torch.split(plain, lengths)):
        assert part.tolist() == [0.0] * (lengths[index] - 1) + [float(rewards[index])] * (lengths[index] > 0)
    torch.testing.assert_close(token_rewards(rewards, segment_ids=segment_ids, penalties=penalties), plain - penalties)
    shard = BatchShard(segment_ids, len(lengths), len(lengths), sum(lengths))
    sums = torch.tensor([float(part.sum()) for part in torch.split(penalties, lengths)])
    torch.testing.assert_close(penalised(rewards, penalties, shard=shard), rewards - sums)


def test_whitened_advantages_have_mean_0_and_deviation_1_and_a_constant_gives_0() -> None:
    white = whiten(torch.randn(500, generator=torch.Generator().manual_seed(1)) * 7 + 3)
    assert float(white.mean()) == pytest.approx(0, abs=1e-6)
    assert float(white.std()) == pytest.approx(1, abs=1e-6)
    assert whiten(torch.full((9,), 0.25)).tolist() == [0.0] * 9
    assert whiten(torch.tensor([5.0])).tolist() == [0.0]
    assert whiten(torch.zeros(0)).tolist() == []


def test_grpo_divides_by_the_deviation_and_the_others_do_not() -> None:
    rewards, groups = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([7, 7, 7, 7])
    divided, _ = group_advantages(rewards, groups, divide=True)
    torch.testing.assert_close(divided, torch.tensor([0.75, -0.25, -0.25, -0.25]) / (0.5 + 1e-6))
    assert group_advantages(rewards, groups, divide=False)[0].tolist() == [0.75, -0.25, -0.25, -0.25]
    others, _ = group_advantages(rewards, groups, divide=False, leave_one_out=True)
    torch.testing.assert_close(others, torch.tensor([1, -1 / 3, -1 / 3, -1 / 3]))


@given(st.sampled_from([0.1, 0.3, 1 / 3, 1.0, 0.0, 1e7, 1e-9]), st.integers(2, 9), st.booleans(), st.booleans())
def test_a_group_of_equal_rewards_gives_exactly_nothing_and_is_counted(
    reward: float, size: int, divide: bool, leave_one_out: bool
) -> None:
    """0.1 + 0.1 + 0.1 is not 0.3: a mean that misses by a digit, over a deviation of 0 + 1e-6, would be a signal."""
    rewards = torch.tensor([reward] * size + [1.0, 0.0] + [0.5])
    groups = torch.tensor([3] * size + [9, 9] + [-1])
    advantages, metrics = group_advantages(rewards, groups, divide=divide, leave_one_out=leave_one_out)
    assert advantages[:size].tolist() == [0.0] * size
    assert advantages[size] > 0 > advantages[size + 1]
    assert float(advantages[-1]) == 0.5, "alone, there is nothing to compare with: mean 0, deviation 1"
    assert metrics["zero_variance_groups"].value == pytest.approx(1 / 3)
    assert metrics["single_groups"].value == pytest.approx(1 / 3)
    assert torch.equal(group_means(rewards, groups)[:size], rewards[:size])
    assert float(group_means(rewards, groups)[-1]) == 0.0


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-2, 2)), min_size=1, max_size=20), st.randoms())
def test_advantages_follow_their_trajectories_wherever_they_stand(batch: list[tuple[int, float]], chance: Any) -> None:
    order = list(range(len(batch)))
    chance.shuffle(order)

    def of(items: list[tuple[int, float]]) -> Tensor:
        groups, rewards = torch.tensor([item[0] for item in items]), torch.tensor([item[1] for item in items])
        return group_advantages(rewards.double(), 10 * groups, divide=True)[0]

    torch.testing.assert_close(of(batch)[order], of([batch[index] for index in order]), rtol=1e-6, atol=1e-9)
    means = {
        group: math.fsum(reward for other, reward in batch if other == group) / [g for g, _ in batch].count(group)
        for group, _ in batch
    }
    plain, _ = group_advantages(
        torch.tensor([reward for _, reward in batch], dtype=torch.float64),
        torch.tensor([group for group, _ in batch]),
        divide=False,
    )
    for (group, reward), found in zip(batch, plain.tolist(), strict=True):
        alone = [g for g, _ in batch].count(group) == 1
        assert found == pytest.approx(reward if alone else reward - means[group], abs=1e-9)


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_group_baselines_keep_the_policy_gradient(size: int, leave_one_out: bool) -> None:
    """Every group of samples of a policy over three answers, weighed by its probability.

    With the mean of the others the expected gradient is the true one. With the group's own mean, which contains the
    sample itself, it is (1 - 1/n) times that: the same direction.
    """
    logits = torch.tensor([0.3, -1.1, 0.8], dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([1.0, 0.0, 0.4], dtype=torch.float64)
    log_pi = logits.log_softmax(0)
    (true,) = torch.autograd.grad((log_pi.exp() * rewards).sum(), logits, retain_graph=True)
    expected = torch.zeros(3, dtype=torch.float64)
    for answers in itertools.product(range(3), repeat=size):
        drawn = torch.tensor(answers)
        advantages, _ = group_advantages(
            rewards[drawn], torch.zeros(size, dtype=torch.long), divide=False, leave_one_out=leave_one_out
        )
        (found,) = torch.autograd.grad((advantages * log_pi[drawn]).mean(), logits, retain_graph=True)
        expected += log_pi[drawn].sum().exp().detach() * found
    factor = 1.0 if leave_one_out else 1 - 1 / size
    torch.testing.assert_close(expected, factor * true, rtol=1e-12, atol=1e-14)
