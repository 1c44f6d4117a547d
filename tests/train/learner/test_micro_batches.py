"""How a batch is divided: nothing is lost, nothing comes twice, every process computes as often as the others."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tbrm_train.learner.micro_batches import plan_micro_batches, split_batch

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@given(lengths, st.integers(1, 5), st.integers(1, 400))
def test_a_plan_holds_every_trajectory_once_and_is_even(found: list[int], world_size: int, max_tokens: int) -> None:
    plan = plan_micro_batches(found, world_size=world_size, max_tokens=max_tokens)
    assert len(plan) == world_size
    assert len({len(micro) for micro in plan}) == 1, "all processes take part in every pass"
    assert sorted(index for rank in plan for micro in rank for index in micro) == list(range(len(found)))
    for micro in (micro for rank in plan for micro in rank if micro):
        padded = len(micro) * max(found[index] for index in micro)
        assert padded <= max_tokens or len(micro) == 1
    # A pass is empty only where nothing is left to divide, and fewer are than there are processes.
    passes = [micro for rank in plan for micro in rank]
    num_empty = sum(not micro for micro in passes)
    assert num_empty < world_size
    assert not num_empty or max(map(len, passes)) == 1


@given(lengths, st.integers(50, 400))
def test_neighbours_in_length_share_a_pass(found: list[int], max_tokens: int) -> None:
    """Sorted by length, the passes are runs: no trajectory of another pass lies strictly between two of one."""
    (rank,) = plan_micro_batches(found, world_size=1, max_tokens=max_tokens)
    spans = sorted((min(found[i] for i in micro), max(found[i] for i in micro)) for micro in rank)
    assert all(one[1] <= two[0] or one == two for one, two in itertools.pairwise(spans))


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_parts_of_a_batch_are_even_and_in_order(count: int, parts: int) -> None:
    found = split_batch(count, parts)
    assert [index for part in found for index in part] == list(range(count))
    assert len(found) == min(count, parts)
    assert max(map(len, found)) - min(map(len, found)) <= 1
