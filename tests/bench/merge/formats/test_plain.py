"""Unsharded files, pickled or not, with the names that wrappers leave in the keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints.compare import assert_merged
from checkpoints.variants import PLAIN, Place, PlainVariant

from tbrm_bench.merge import merge

Find = Callable[[str, str], Place]
DROPPED = {"value_head": {"v_head.summary.weight", "v_head.summary.bias"}}


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float32"])
@pytest.mark.parametrize("variant", PLAIN, ids=lambda variant: variant.name)
def test_names_values_and_casts(variant: PlainVariant, dtype: str | None, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("plain", variant.name)
    report = merge(place.checkpoint, tmp_path / "out", dtype=dtype)
    assert {name for name, _reason in report.dropped} == DROPPED.get(variant.kind, set())
    assert_merged(place, tmp_path / "out", report, getattr(torch, dtype) if dtype else None)


def test_what_was_merged_can_be_merged_again(checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("plain", PLAIN[1].name)
    first = merge(place.checkpoint, tmp_path / "first", max_shard_size="50KB")
    second = merge(tmp_path / "first", tmp_path / "second")
    assert first.fingerprint == second.fingerprint
    assert_merged(place, tmp_path / "second", second)
