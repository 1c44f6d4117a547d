"""DeepSpeed, ZeRO 0 to 3 and universal: bit by bit the 32-bit masters that DeepSpeed's own converter gathers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints.compare import assert_merged
from checkpoints.variants import ZERO, ZERO_FULL, Place, ZeroVariant

from tbrm_bench.merge import merge

Find = Callable[[str, str], Place]


def check_merge(variant: ZeroVariant, place: Place, output: Path, dtype: str | None = None) -> None:
    base = place.source if variant.universal else None
    report = merge(place.checkpoint, output, base=base, dtype=dtype)
    assert report.format == ("universal" if variant.universal else "deepspeed")
    assert not report.dropped
    assert_merged(place, output, report, getattr(torch, dtype) if dtype else None)


@pytest.mark.parametrize("variant", ZERO, ids=lambda variant: variant.name)
def test_it_is_what_deepspeed_gathers(variant: ZeroVariant, checkpoint: Find, tmp_path: Path) -> None:
    check_merge(variant, checkpoint("zero", variant.name), tmp_path / "out")


@pytest.mark.parametrize("variant", [ZERO[3], ZERO[7]], ids=lambda variant: variant.name)
def test_the_masters_are_rounded_once(variant: ZeroVariant, checkpoint: Find, tmp_path: Path) -> None:
    check_merge(variant, checkpoint("zero", variant.name), tmp_path / "out", "bfloat16")


@pytest.mark.slow
def test_every_stage_dtype_and_grouping(checkpoint: Find, tmp_path: Path) -> None:
    for variant in ZERO_FULL:
        check_merge(variant, checkpoint("zero", variant.name), tmp_path / variant.name)
