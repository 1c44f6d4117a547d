"""Packing: trajectories end to end in one row, so that no forward pass computes padding.

    lengths 5 3 2, max_tokens 8   ->   packs [[0, 1], [2]]                     8 and 2 tokens

    tokens      a a a a a b b b        one row, (1, T)
    positions   0 1 2 3 4 0 1 2        start again with each trajectory
    bounds      0         5     8      what attention of packed rows asks for (cu_seqlens)

A model whose attention knows where trajectories begin (FlashAttention by the bounds, transformers' SDPA by the
positions) gives each the hidden states that it has alone. Without such attention, pad: `micro_batches`. Sums over
trajectories do not care about the packs; `unpack` puts results back in the order of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Trajectories in one row of T tokens, of which N are responses."""

    places: tuple[int, ...]  # which trajectories of the batch, in the row's order
    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T)
    bounds: Tensor  # (trajectories + 1,) int32: where each begins, and T
    longest: int  # tokens
    rows: Tensor  # (N,) whose response token it is, ascending
    predicts: Tensor  # (N,) where in the row the hidden state stands that predicts it
    targets: Tensor  # (N,) the token itself
    response_lengths: tuple[int, ...]


def plan_packs(lengths: Sequence[int], *, max_tokens: int, world_size: int = 1) -> list[list[list[int]]]:
    """Return for every process its packs, as lists of indices; all processes have the same number.

    A pack holds at most `max_tokens`, or one trajectory that alone is longer. The longest go first, each into the
    fullest pack that has room (best-fit decreasing), so no two packs would fit into one. Packs are divided until all
    processes have as many; where there is nothing left to divide, some are empty.
    """
    packs: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        fitting = [place for place, room in enumerate(free) if room >= lengths[index]]
        if fitting:
            place = min(fitting, key=lambda place: free[place])
        else:
            place = len(packs)
            packs.append([])
            free.append(max_tokens)
        packs[place].append(index)
        free[place] -= lengths[index]
    while len(packs) % world_size:
        largest = max(range(len(packs)), key=lambda place: len(packs[place]))
        whole = packs[largest]
        packs[largest : largest + 1] = [whole[0::2], whole[1::2]]
    packs.sort(key=lambda pack: -sum(lengths[index] for index in pack))
    return [packs[rank::world_size] for rank in range(world_size)]


def make_pack(
    sequences: Sequence[tuple[Sequence[int], Sequence[int]]], places: Sequence[int], *, device: str = "cpu"
) -> Pack:
    """Lay the (prompt, response) pairs at these places of the batch end to end.

    A prompt has at least one token, which predicts the response's first; a response may be empty. No places, no tokens.
    """
    chosen = [sequences[place] for place in places]
    tokens = [token for prompt, response in chosen for token in (*prompt, *response)]
    lengths = torch.tensor([len(prompt) + len(response) for prompt, response in chosen], dtype=torch.long)
    responses = torch.tensor([len(response) for _, response in chosen], dtype=torch.long)
    bounds = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    positions = torch.arange(len(tokens)) - bounds[:-1].repeat_interleave(lengths)
    rows = torch.arange(len(chosen)).repeat_interleave(responses)
    # A response's tokens are its trajectory's last; each is predicted one token before.
    first = bounds[1:] - responses
    starts = torch.cat([responses.new_zeros(1), responses.cumsum(0)])[:-1]
    own = first[rows] + torch.arange(len(rows)) - starts[rows]
    input_ids = torch.tensor(tokens, dtype=torch.long)
    return Pack(
        places=tuple(places),
        input_ids=input_ids[None].to(device),
        position_ids=positions[None].to(device),
        bounds=bounds.to(device=device, dtype=torch.int32),
        longest=int(lengths.max()) if len(chosen) else 0,
        rows=rows.to(device),
        predicts=(own - 1).to(device),
        targets=input_ids[own].to(device),
        response_lengths=tuple(responses.tolist()),
    )


def unpack(results: Sequence[tuple[Pack, Tensor]], *, count: int) -> list[Tensor]:
    """Return the response tokens' numbers of each trajectory, in the order of the batch of `count`.

    `results` pairs every pack with its numbers (N,); each trajectory must be in exactly one of them.
    """
    found: dict[int, Tensor] = {}
    for pack, numbers in results:
        parts = torch.split(numbers, list(pack.response_lengths)) if pack.places else ()
        for place, part in zip(pack.places, parts, strict=True):
            assert place not in found, f"trajectory {place} is in two packs"
            found[place] = part
    missing = [place for place in range(count) if place not in found]
    assert not missing, f"the packs do not hold the batch: {missing[:3]} missing"
    assert len(found) == count, f"the packs hold {len(found)} trajectories, the batch {count}"
    return [found[place] for place in range(count)]


def fill(lengths: Sequence[int], plan: Sequence[Sequence[Sequence[int]]], *, max_tokens: int) -> float:
    """Return the share of `max_tokens` that an average pack uses; NaN without tokens or packs."""
    packs = [pack for rank in plan for pack in rank if pack]
    return (
        sum(lengths[index] for pack in packs for index in pack) / (len(packs) * max_tokens) if packs else float("nan")
    )
