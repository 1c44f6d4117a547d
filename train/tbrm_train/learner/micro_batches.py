"""How a batch is divided: into updates, over processes, into micro-batches of similar lengths.

plan_micro_batches([9, 3, 8, 2], world_size=1, max_tokens=18)  ->  [[[0, 2], [1, 3]]]
"""

import itertools
from collections.abc import Sequence


def plan_micro_batches(lengths: Sequence[int], *, world_size: int, max_tokens: int) -> list[list[list[int]]]:
    """Return for every process its micro-batches, as lists of indices; all processes have the same number.

    Neighbours have similar lengths, so little is padded; padded tokens of one stay within `max_tokens` unless one
    trajectory alone exceeds it. Where each trajectory has a micro-batch of its own and their number is no multiple of
    the processes', some processes get an empty one.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    micro: list[list[int]] = []
    for index in order:
        if micro and (len(micro[-1]) + 1) * lengths[micro[-1][0]] <= max_tokens:
            micro[-1].append(index)
        else:
            micro.append([index])
    while len(micro) % world_size:
        largest = max(range(len(micro)), key=lambda place: len(micro[place]))
        whole = micro[largest]
        half = (len(whole) + 1) // 2
        micro[largest : largest + 1] = [whole[:half], whole[half:]]
    micro.sort(key=lambda item: -sum(lengths[index] for index in item))
    return [micro[rank::world_size] for rank in range(world_size)]


def split_batch(count: int, parts: int) -> list[list[int]]:
    """Return `parts` runs of neighbours, as even as can be, that make up range(count)."""
    bounds = [count * number // parts for number in range(parts + 1)]
    return [list(range(start, end)) for start, end in itertools.pairwise(bounds) if end > start]
