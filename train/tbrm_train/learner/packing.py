"""Packing: trajectories end to end in one row, so that no forward pass computes padding.

    lengths 5 3 2, max_tokens 8   ->   packs [[0, 1], [2]]                     8 and 2 tokens

    tokens        a a a a a b b b      one row, (1, T)
    position_ids  0 1 2 3 4 0 1 2      restart with each trajectory
    cu_seqlens    0         5     8    as FlashAttention's varlen functions take them

A model whose attention knows where trajectories begin (FlashAttention by cu_seqlens, transformers' SDPA by
position_ids) computes the same hidden states for each as without packing. Other models need padding: `micro_batches`.
Sums over trajectories do not depend on the packing; `unpack` restores the order of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Trajectories in one row of T tokens, of which N are responses."""

    indices: tuple[int, ...]  # of the trajectories in the batch, in the order of the row
    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T)
    cu_seqlens: Tensor  # (trajectories + 1,) int32: where each begins, and T
    max_seqlen: int  # tokens of the longest trajectory
    segment_ids: Tensor  # (N,) the trajectory of each response token, ascending
    logits_indices: Tensor  # (N,) position in the row of the hidden state that predicts it
    targets: Tensor  # (N,) the token itself
    response_lengths: tuple[int, ...]


def plan_packs(lengths: Sequence[int], *, max_tokens: int, world_size: int = 1) -> list[list[list[int]]]:
    """Return the packs of every process, as lists of indices; all processes get the same number of them.

    A pack holds at most `max_tokens`, or a single longer trajectory. The longest go first, each into the fullest pack
    that has room (best-fit decreasing), so no two packs would fit into one. Packs are split until all processes have
    the same number; if nothing is left to split, some are empty.
    """
    packs: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        fitting = [slot for slot, room in enumerate(free) if room >= lengths[index]]
        if fitting:
            slot = min(fitting, key=lambda slot: free[slot])
        else:
            slot = len(packs)
            packs.append([])
            free.append(max_tokens)
        packs[slot].append(index)
        free[slot] -= lengths[index]
    while len(packs) % world_size:
        largest = max(range(len(packs)), key=lambda slot: len(packs[slot]))
        split = packs[largest]
        packs[largest : largest + 1] = [split[0::2], split[1::2]]
    packs.sort(key=lambda pack: -sum(lengths[index] for index in pack))
    return [packs[rank::world_size] for rank in range(world_size)]


def make_pack(
    sequences: Sequence[tuple[Sequence[int], Sequence[int]]], indices: Sequence[int], *, device: str = "cpu"
) -> Pack:
    """Pack the (prompt, response) pairs at these indices of the batch end to end.

    A prompt has at least one token, which predicts the response's first; a response may be empty, and so may a pack.
    """
    chosen = [sequences[index] for index in indices]
    tokens = [token for prompt, response in chosen for token in (*prompt, *response)]
    lengths = torch.tensor([len(prompt) + len(response) for prompt, response in chosen], dtype=torch.long)
    responses = torch.tensor([len(response) for _, response in chosen], dtype=torch.long)
    cu_seqlens = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    positions = torch.arange(len(tokens)) - cu_seqlens[:-1].repeat_interleave(lengths)
    segment_ids = torch.arange(len(chosen)).repeat_interleave(responses)
    # A response's tokens are its trajectory's last; each is predicted one token before.
    first = cu_seqlens[1:] - responses
    starts = torch.cat([responses.new_zeros(1), responses.cumsum(0)])[:-1]
    own = first[segment_ids] + torch.arange(len(segment_ids)) - starts[segment_ids]
    input_ids = torch.tensor(tokens, dtype=torch.long)
    return Pack(
        indices=tuple(indices),
        input_ids=input_ids[None].to(device),
        position_ids=positions[None].to(device),
        cu_seqlens=cu_seqlens.to(device=device, dtype=torch.int32),
        max_seqlen=int(lengths.max()) if len(chosen) else 0,
        segment_ids=segment_ids.to(device),
        logits_indices=(own - 1).to(device),
        targets=input_ids[own].to(device),
        response_lengths=tuple(responses.tolist()),
    )


def unpack(results: Sequence[tuple[Pack, Tensor]], *, count: int) -> list[Tensor]:
    """Return the per-token values of each trajectory, in the order of the batch of `count`.

    `results` pairs every pack with its values (N,); each trajectory must be in exactly one of them.
    """
    found: dict[int, Tensor] = {}
    for pack, values in results:
        parts = torch.split(values, list(pack.response_lengths)) if pack.indices else ()
        for index, part in zip(pack.indices, parts, strict=True):
            assert index not in found, f"trajectory {index} is in two packs"
            found[index] = part
    missing = [index for index in range(count) if index not in found]
    assert not missing, f"the packs do not hold the batch: {missing[:3]} missing"
    assert len(found) == count, f"the packs hold {len(found)} trajectories, the batch {count}"
    return [found[index] for index in range(count)]


def fill(lengths: Sequence[int], plan: Sequence[Sequence[Sequence[int]]], *, max_tokens: int) -> float:
    """Return the fraction of `max_tokens` that an average pack uses; NaN without tokens or packs."""
    packs = [pack for rank in plan for pack in rank if pack]
    return (
        sum(lengths[index] for pack in packs for index in pack) / (len(packs) * max_tokens) if packs else float("nan")
    )
