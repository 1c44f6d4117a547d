"""Every loss is the same however its batch is split, ordered, packed or padded, and over how many processes.

And what they report: means add up over shards, undefined is NaN, and each algorithm's page defines all of its metrics.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.advantages import gae, group_advantages, group_means, token_rewards, whiten
from tbrm_train.algorithms.astarpo import astarpo_loss
from tbrm_train.algorithms.clipped import Tokens
from tbrm_train.algorithms.drgrpo import drgrpo_loss
from tbrm_train.algorithms.grpo import grpo_loss
from tbrm_train.algorithms.ppo import ppo_loss, value_loss
from tbrm_train.algorithms.reinforce import reinforce_loss
from tbrm_train.algorithms.shard import BatchShard, Mean, Metrics, add_metrics, k3, mean
from tbrm_train.algorithms.tbrm import reference_of, tbrm_loss
from tbrm_train.policy.logprobs import token_scores

torch.set_num_threads(1)
DOCS = Path(__file__).resolve().parents[3] / "docs" / "algorithms"
WIDTH, VOCAB = 6, 11
LENGTHS = [3, 0, 5, 1, 2, 7, 4, 1]  # one response is empty
GROUPS = [0, 0, 0, 1, 1, 2, 2, 2]
REWARDS = [1.0, 0.0, 0.0, 1.0, 1.0, 0.5, 1.0, 0.0]


@dataclass(frozen=True)
class Batch:
    """A whole update: tensors of tokens, one per trajectory, and numbers of trajectories."""

    hidden: list[Tensor]
    targets: list[Tensor]
    old_logprobs: list[Tensor]
    reference_logprobs: list[Tensor]
    reference_logsumexp: list[Tensor]
    advantages: list[Tensor]
    old_values: list[Tensor]
    returns: list[Tensor]
    rewards: Tensor
    group_advantages: Tensor
    group_means: Tensor
    optimal_values: Tensor


def make_batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    num = sum(LENGTHS)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    def split(tokens: Tensor) -> list[Tensor]:
        return list(torch.split(tokens, LENGTHS))

    segment_ids = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
    rewards, groups = torch.tensor(REWARDS, dtype=torch.float64), torch.tensor(GROUPS)
    values = noise(num)
    earned = token_rewards(rewards, segment_ids=segment_ids)
    advantages, returns = gae(earned, values, segment_ids=segment_ids, gamma=1.0, lam=0.9)
    return Batch(
        hidden=split(noise(num, WIDTH)),
        targets=split(torch.randint(VOCAB, (num,), generator=draw)),
        old_logprobs=split(-2.5 + 0.3 * noise(num)),
        reference_logprobs=split(-2.5 + 0.3 * noise(num)),
        reference_logsumexp=split(noise(num)),
        advantages=split(whiten(advantages)),
        old_values=split(values),
        returns=split(returns),
        rewards=rewards,
        group_advantages=group_advantages(rewards, groups, divide=True)[0],
        group_means=group_means(rewards, groups),
        optimal_values=noise(len(LENGTHS)).abs(),
    )


BATCH = make_batch()
HEAD = torch.randn(VOCAB, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
Loss = Callable[[Batch, BatchShard], tuple[Tensor, Metrics]]


def segment_ids_of(batch: Batch) -> Tensor:
    return torch.arange(len(batch.hidden)).repeat_interleave(torch.tensor([len(part) for part in batch.hidden]))


def policy(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    scores = token_scores(torch.cat(batch.hidden), HEAD, torch.cat(batch.targets))
    return scores.logprobs, scores.logsumexp, scores.entropy


def tokens_of(batch: Batch) -> Tokens:
    logprobs, _, entropy = policy(batch)
    return Tokens(logprobs, entropy, torch.cat(batch.old_logprobs), torch.cat(batch.reference_logprobs))


def tbrm(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    logprobs, logsumexp, _ = policy(batch)
    base = reference_of(torch.cat(batch.reference_logprobs), torch.cat(batch.reference_logsumexp), shard=shard)
    return tbrm_loss(
        logprobs, logsumexp=logsumexp, reference=base, rewards=batch.rewards, shard=shard, beta=0.5,
        group_means=batch.group_means, center_value=True, center_reward=True,
    )  # fmt: skip


def astarpo(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    base = shard.sum_tokens(torch.cat(batch.reference_logprobs))
    return astarpo_loss(
        policy(batch)[0], reference_logprob=base, rewards=batch.rewards, values=batch.optimal_values, shard=shard,
        beta=0.5,
    )  # fmt: skip


def reinforce(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    return reinforce_loss(policy(batch)[0], advantages=batch.group_advantages, shard=shard)


def ppo(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    tokens, advantages = tokens_of(batch), torch.cat(batch.advantages)
    loss, metrics = ppo_loss(tokens, advantages=advantages, shard=shard, entropy_coefficient=0.01, kl_coefficient=0.1)
    values = torch.cat(batch.hidden) @ HEAD[0]
    critic, more = value_loss(
        values, old_values=torch.cat(batch.old_values), returns=torch.cat(batch.returns), shard=shard
    )
    return loss + critic, metrics | more


def grpo(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    return grpo_loss(tokens_of(batch), advantages=batch.group_advantages, shard=shard, kl_coefficient=0.1)


def drgrpo(batch: Batch, shard: BatchShard) -> tuple[Tensor, Metrics]:
    return drgrpo_loss(tokens_of(batch), advantages=batch.group_advantages, shard=shard, max_tokens=9)


LOSSES: list[Loss] = [tbrm, astarpo, reinforce, ppo, grpo, drgrpo]


def pick(batch: Batch, indices: Sequence[int]) -> Batch:
    def of(value: list[Tensor] | Tensor) -> list[Tensor] | Tensor:
        return [value[index] for index in indices] if isinstance(value, list) else value[list(indices)]

    return Batch(**{field.name: of(getattr(batch, field.name)) for field in fields(batch)})  # type: ignore[arg-type]


def run(loss: Loss, micro_batches: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Metrics]:
    """Return the sums over micro-batches of losses, gradients (of the output layer) and metrics."""
    total, gradient = torch.zeros((), dtype=torch.float64), torch.zeros_like(HEAD)
    parts = []
    for indices in micro_batches:
        part = pick(BATCH, indices)
        shard = BatchShard(segment_ids_of(part), len(indices), len(LENGTHS), sum(LENGTHS))
        found, metrics = loss(part, shard)
        (on_head,) = torch.autograd.grad(found, HEAD)
        total, gradient = total + found.detach(), gradient + on_head
        parts.append(metrics)
    return total, gradient, add_metrics(parts)


def assert_same(one: tuple[Tensor, Tensor, Metrics], two: tuple[Tensor, Tensor, Metrics]) -> None:
    torch.testing.assert_close(one[0], two[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one[1], two[1], rtol=1e-11, atol=1e-13)
    assert set(one[2]) == set(two[2])
    for name in one[2]:
        assert one[2][name].value == pytest.approx(two[2][name].value, rel=1e-11, abs=1e-13), name


WHOLE = {loss: run(loss, [range(len(LENGTHS))]) for loss in LOSSES}


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(len(LENGTHS))), st.sets(st.integers(1, len(LENGTHS) - 1)))
@pytest.mark.parametrize("loss", LOSSES)
def test_micro_batches_and_order_change_nothing(loss: Loss, order: list[int], cuts: set[int]) -> None:
    bounds = [0, *sorted(cuts), len(LENGTHS)]
    assert_same(run(loss, [order[start:end] for start, end in itertools.pairwise(bounds)]), WHOLE[loss])


@pytest.mark.parametrize("world_size", [2, 3, 8])
@pytest.mark.parametrize("loss", LOSSES)
def test_processes_that_average_their_gradients_get_the_same(loss: Loss, world_size: int) -> None:
    """As DeepSpeed does it: each rank's loss times the number of ranks, the mean of the ranks' gradients."""
    ranks = [run(loss, [[index] for index in range(rank, len(LENGTHS), world_size)]) for rank in range(world_size)]
    total = torch.stack([rank[0] for rank in ranks]).sum()
    gradient = torch.stack([world_size * rank[1] for rank in ranks]).mean(0)
    assert_same((total, gradient, add_metrics([rank[2] for rank in ranks])), WHOLE[loss])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mean_of_micro_batch_means_would_not_be_the_same(loss: Loss) -> None:
    """What the denominators are for: dividing by what a micro-batch holds gives another gradient."""
    gradient = torch.zeros_like(HEAD)
    for indices in ([0, 1, 2], [3, 4, 5, 6, 7]):
        part = pick(BATCH, indices)
        alone = BatchShard(segment_ids_of(part), len(indices), len(indices), sum(LENGTHS[index] for index in indices))
        gradient += torch.autograd.grad(loss(part, alone)[0], HEAD)[0] / 2
    assert float((gradient - WHOLE[loss][1]).abs().max()) > 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_finite_differences_of_the_output_layer(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = BatchShard(segment_ids_of(BATCH), len(LENGTHS), len(LENGTHS), sum(LENGTHS))

    def of(head: Tensor) -> Tensor:
        monkeypatch.setitem(globals(), "HEAD", head)
        return loss(BATCH, shard)[0]

    assert torch.autograd.gradcheck(of, HEAD.detach().clone().requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_and_bfloat16_numbers_give_a_float32_loss(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_single(value: list[Tensor] | Tensor) -> list[Tensor] | Tensor:
        if isinstance(value, list):
            return [part.float() if part.is_floating_point() else part for part in value]
        return value.float()

    single = Batch(**{f.name: as_single(getattr(BATCH, f.name)) for f in fields(BATCH)})  # type: ignore[arg-type]
    head = HEAD.detach().float().requires_grad_()
    monkeypatch.setitem(globals(), "HEAD", head)
    found, _ = loss(single, BatchShard(segment_ids_of(single), len(LENGTHS), len(LENGTHS), sum(LENGTHS)))
    assert found.dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(WHOLE[loss][0]), rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert head.grad is not None
    torch.testing.assert_close(head.grad.double(), WHOLE[loss][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_share_without_tokens_has_no_gradient_and_undefined_means(loss: Loss) -> None:
    """Only empty responses: 0/0 must not come up, and a mean over no tokens is not 0."""
    _, gradient, metrics = run(loss, [[1]])
    assert torch.equal(gradient, torch.zeros_like(HEAD))
    of_tokens = {"ratio", "kl", "kl_old", "clip_fraction", "critic/error", "value", "value_minus_ref"}
    for name in of_tokens & set(metrics):
        assert math.isnan(metrics[name].value), name
    assert_same(run(loss, [[0, 2, 3, 4, 5, 6, 7], [1]]), WHOLE[loss])


@pytest.mark.parametrize("loss", LOSSES)
def test_the_page_defines_every_metric(loss: Loss) -> None:
    page = (DOCS / f"{loss.__name__.removesuffix('_of_the_paper')}.md").read_text()
    for name in ("loss", *WHOLE[loss][2]):
        assert any(line.startswith(f"| `{name}` |") for line in page.splitlines()), f"{name} is not defined"


def test_every_algorithm_has_its_page_and_every_page_its_algorithm() -> None:
    assert set(ALGORITHMS) == {file.stem for file in DOCS.glob("*.md")} - {"README", "logprobs"}


def test_means_of_masked_and_missing_items() -> None:
    values = torch.tensor([1.0, 2.0, math.nan])
    assert mean(values, torch.tensor([True, True, False])).value == 1.5
    assert math.isnan(mean(values, torch.zeros(3, dtype=torch.bool)).value)
    assert math.isnan(Mean(torch.tensor(0.0), torch.tensor(0)).value)
    added = add_metrics([{"a": mean(torch.ones(3))}, {"a": mean(torch.zeros(1)), "b": mean(torch.zeros(0))}])
    assert added["a"].value == 0.75
    assert math.isnan(added["b"].value)


def test_k3_is_the_divergence_in_the_mean_and_never_negative() -> None:
    draw = torch.Generator().manual_seed(3)
    log_pi, log_ref = (torch.randn(9, generator=draw, dtype=torch.float64).log_softmax(0) for _ in range(2))
    estimates = k3(log_pi, log_ref)
    assert bool((estimates >= 0).all())
    expected = (log_pi.exp() * (log_pi - log_ref)).sum()
    torch.testing.assert_close((log_pi.exp() * estimates).sum(), expected, rtol=1e-12, atol=1e-14)
    assert bool(torch.isfinite(k3(torch.tensor([-1000.0, 0.0]), torch.tensor([0.0, -1000.0]))).all())
    small = k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 1e-3]))
    assert float(small) == pytest.approx(5e-7, rel=1e-3), "expm1: the difference of near equals keeps its digits"
