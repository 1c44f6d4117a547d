"""How a batch is split: into updates, over processes, into micro-batches of similar lengths.

plan_micro_batches([9, 3, 8, 2], world_size=1, max_tokens=18)  ->  [[[0, 2], [1, 3]]]
"""

import itertools
from collections.abc import Sequence


def plan_micro_batches(lengths: Sequence[int], *, world_size: int, max_tokens: int) -> list[list[list[int]]]:
    """Return the micro-batches of every process, as lists of indices; all processes get the same number of them.

    A micro-batch holds trajectories of similar lengths, so there is little padding; its padded tokens stay within
    `max_tokens` unless a single trajectory exceeds it. If every trajectory has its own micro-batch and their number is
    not a multiple of `world_size`, some processes get an empty one.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    micro: list[list[int]] = []
    for index in order:
        if micro and (len(micro[-1]) + 1) * lengths[micro[-1][0]] <= max_tokens:
            micro[-1].append(index)
        else:
            micro.append([index])
    while len(micro) % world_size:
        largest = max(range(len(micro)), key=lambda index: len(micro[index]))
        split = micro[largest]
        half = (len(split) + 1) // 2
        micro[largest : largest + 1] = [split[:half], split[half:]]
    micro.sort(key=lambda item: -sum(lengths[index] for index in item))
    return [micro[rank::world_size] for rank in range(world_size)]


def split_batch(count: int, parts: int) -> list[list[int]]:
    """Split range(count) into `parts` contiguous runs of nearly equal length."""
    bounds = [count * number // parts for number in range(parts + 1)]
    return [list(range(start, end)) for start, end in itertools.pairwise(bounds) if end > start]
