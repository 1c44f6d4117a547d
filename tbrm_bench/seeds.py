"""One seed per sample, from what the sample is and from nothing else.

A seed depends on (run seed, task, problem id, sample index): not on batch, order, number of GPUs or resumption, so a
run that was killed and one that was not draw the same samples, and raising k leaves the first ones as they were.
"""

import hashlib

from tbrm_bench.records import SampleKey


def sample_seed(run_seed: int, key: SampleKey) -> int:
    """Return a seed in [0, 2**63), the range that both SQLite's integers and torch's generators hold."""
    # A unit separator keeps ("a", "bc") and ("ab", "c") apart.
    name = "\x1f".join((str(run_seed), key.task, key.problem_id, str(key.sample_index)))
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1
