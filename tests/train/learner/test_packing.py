"""Packing: nothing is lost, nothing comes twice, the order comes back, and no trajectory sees another."""

import itertools
from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.ppo import value_loss
from tbrm_train.algorithms.shard import BatchShard
from tbrm_train.algorithms.signals import MicroBatch, Signals
from tbrm_train.learner.micro_batches import plan_micro_batches
from tbrm_train.learner.packing import Pack, fill, make_pack, plan_packs, unpack
from tbrm_train.policy.logprobs import token_scores
from tbrm_train.policy.policy import TokenScores

torch.set_num_threads(1)
token = st.integers(3, 40)
batches = st.lists(
    st.tuples(st.lists(token, min_size=1, max_size=6), st.lists(token, max_size=9)), min_size=1, max_size=12
)
Sequences = list[tuple[list[int], list[int]]]


def lengths_of(sequences: Sequences) -> list[int]:
    return [len(prompt) + len(response) for prompt, response in sequences]


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 5), st.integers(1, 400))
def test_a_plan_holds_every_trajectory_once_and_is_even(found: list[int], world_size: int, max_tokens: int) -> None:
    plan = plan_packs(found, max_tokens=max_tokens, world_size=world_size)
    assert len(plan) == world_size
    assert len({len(rank) for rank in plan}) == 1, "all processes take part in every pass"
    assert sorted(index for rank in plan for pack in rank for index in pack) == list(range(len(found)))
    for pack in (pack for rank in plan for pack in rank):
        assert sum(found[index] for index in pack) <= max_tokens or len(pack) == 1
    packs = [pack for rank in plan for pack in rank]
    if any(len(pack) > 1 for pack in packs):
        assert all(packs), "none is empty while another could be divided"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(50, 400))
def test_packs_are_nearly_as_few_as_can_be(found: list[int], max_tokens: int) -> None:
    packs = plan_packs(found, max_tokens=max_tokens)[0]
    needed = -(-sum(found) // max_tokens)
    assert needed <= len(packs) <= 2 * needed
    sizes = sorted(sum(found[index] for index in pack) for pack in packs)
    assert all(one + other > max_tokens for one, other in itertools.pairwise(sizes)), "two would fit in one"


def test_responses_of_all_lengths_fill_their_packs_where_padding_would_not() -> None:
    """A batch as GRPO has it: 512 responses up to a cap, half of them short."""
    draw = torch.Generator().manual_seed(0)
    found = (100 + 1948 * torch.rand(512, generator=draw) ** 2).long().tolist()
    assert fill(found, plan_packs(found, max_tokens=16384), max_tokens=16384) > 0.97
    micro_batches = plan_micro_batches(found, world_size=1, max_tokens=16384)[0]
    padded = sum(len(micro) * max(found[index] for index in micro) for micro in micro_batches)
    assert padded > sum(found)


@settings(deadline=None)
@given(batches, st.integers(1, 60))
def test_the_order_comes_back(sequences: Sequences, max_tokens: int) -> None:
    """The values of a pack's response tokens are put back where the tokens came from."""
    packs = [make_pack(sequences, indices) for indices in plan_packs(lengths_of(sequences), max_tokens=max_tokens)[0]]
    found = unpack([(pack, pack.targets) for pack in packs], count=len(sequences))
    assert [part.tolist() for part in found] == [response for _, response in sequences]
    for pack in packs:
        row = [token for index in pack.indices for part in sequences[index] for token in part]
        assert pack.input_ids[0].tolist() == row
        assert pack.input_ids[0, pack.logits_indices + 1].tolist() == pack.targets.tolist()
        lengths = lengths_of([sequences[index] for index in pack.indices])
        expected = [position for length in lengths for position in range(length)]
        assert pack.position_ids[0].tolist() == expected
        starts = [start for start, position in enumerate(expected) if position == 0]
        assert pack.cu_seqlens.tolist() == [*starts, len(row)]
        assert pack.max_seqlen == max(lengths)
        assert pack.segment_ids.tolist() == sorted(pack.segment_ids.tolist())
        # The state that predicts a token belongs to the same trajectory.
        owner = torch.bucketize(pack.logits_indices, pack.cu_seqlens[1:-1].long(), right=True)
        assert torch.equal(owner, pack.segment_ids)


def test_a_pack_lost_or_doubled_is_noticed() -> None:
    sequences = [([1], [2, 3]), ([4], [5])]
    first, second = (make_pack(sequences, [index]) for index in range(2))
    with pytest.raises(AssertionError, match=r"do not hold the batch: \[1\] missing"):
        unpack([(first, first.targets)], count=2)
    with pytest.raises(AssertionError, match="trajectory 1 is in two packs"):
        unpack([(first, first.targets), (second, second.targets), (second, second.targets)], count=2)
    nothing = make_pack(sequences, [])
    assert nothing.input_ids.shape == (1, 0)
    assert unpack([(nothing, nothing.targets)], count=0) == []


@pytest.fixture(scope="module")
def model() -> Any:
    """A transformer with random weights in float64."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=48, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).double()


SEQUENCES: Sequences = [
    ([5, 6, 7], [8, 9, 3, 4]), ([10], []), ([11, 12], [13] * 9), ([5, 6, 7], [30, 31]), ([20] * 5, [21]),
]  # fmt: skip


def micro_batch(pack: Pack, scores: TokenScores) -> MicroBatch:
    """Rewards, advantages, an older policy and a reference that depend on trajectories and tokens alone."""
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5], dtype=torch.float64)[list(pack.indices)]
    num_tokens = sum(len(response) for _, response in SEQUENCES)
    shift = (pack.targets + 1.0).sin().double()
    base = TokenScores(scores.logprobs.detach() + 0.1 * shift, scores.logsumexp.detach() + 0.3, scores.entropy.detach())
    return MicroBatch(
        shard=BatchShard(pack.segment_ids, len(pack.indices), len(SEQUENCES), num_tokens),
        scores=scores,
        rewards=rewards,
        optimal_values=rewards / 3,
        reference=base,
        old_logprobs=scores.logprobs.detach() - 0.4 * shift,
        signals=Signals(rewards - 0.5, rewards / 2, token_advantages=shift, returns=shift - 0.2),
        max_tokens=9,
    )


def loss_and_gradient(name: str, model: Any, packs: list[Pack], width: int | None) -> tuple[Tensor, Tensor]:
    """Return a loss and its gradient; by packs, or one trajectory at a time padded to `width` tokens."""
    given = {"beta": 0.5, "center_reward": True, "kl_coefficient": 0.1, "entropy_coefficient": 0.01}
    algorithm, own = ALGORITHMS[name], {field.name for field in fields(ALGORITHMS[name].coefficients)}
    settings_ = algorithm.coefficients(**{key: value for key, value in given.items() if key in own})
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for pack in packs:
        if width is None:
            states = model.model(input_ids=pack.input_ids, position_ids=pack.position_ids).last_hidden_state[0]
        else:
            padded = torch.nn.functional.pad(pack.input_ids, (0, width - pack.input_ids.shape[1]))
            states = model.model(input_ids=padded).last_hidden_state[0]
        batch = micro_batch(pack, token_scores(states[pack.logits_indices], model.lm_head.weight, pack.targets))
        loss, _ = algorithm.loss(batch, settings_)
        if algorithm.critic_loss is not None:
            returns, values = batch.signals.returns, states[pack.logits_indices].sum(-1)
            assert returns is not None
            loss = loss + value_loss(values, old_values=returns + 0.1, returns=returns, shard=batch.shard)[0]
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        total = total + loss.detach()
    return total, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("max_tokens", [1, 11, 100])
def test_packed_padded_and_alone_are_one_loss_and_one_gradient(name: str, model: Any, max_tokens: int) -> None:
    """A real model: its weights, tied, get the gradient that each trajectory alone gives them."""
    alone = [make_pack(SEQUENCES, [index]) for index in range(len(SEQUENCES))]
    packs = [make_pack(SEQUENCES, indices) for indices in plan_packs(lengths_of(SEQUENCES), max_tokens=max_tokens)[0]]
    expected = loss_and_gradient(name, model, alone, None)
    assert float(expected[1].abs().max()) > 1e-3, "there is a gradient"
    for found in (loss_and_gradient(name, model, packs, None), loss_and_gradient(name, model, alone, 14)):
        torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-13)
