"""torch's distributed checkpoints, and accelerate's, which are such: bit by bit what torch gathers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints.compare import assert_bits_equal, assert_merged, stored
from checkpoints.variants import DCP, DCP_FULL, DcpVariant, Place

from tbrm_bench.merge import merge

Find = Callable[[str, str], Place]


def check_merge(variant: DcpVariant, place: Place, output: Path) -> None:
    base = place.source if variant.kind == "dcp_flat" else None
    report = merge(place.checkpoint, output, base=base)
    assert report.format == "dcp"
    assert_merged(place, output, report)


@pytest.mark.parametrize("variant", DCP, ids=lambda variant: variant.name)
def test_it_is_what_torch_gathers(variant: DcpVariant, checkpoint: Find, tmp_path: Path) -> None:
    check_merge(variant, checkpoint("dcp", variant.name), tmp_path / "out")


@pytest.mark.slow
def test_every_kind_dtype_and_shape(checkpoint: Find, tmp_path: Path) -> None:
    for variant in DCP_FULL:
        check_merge(variant, checkpoint("dcp", variant.name), tmp_path / variant.name)


@pytest.mark.parametrize("name", ["accelerate1-w2-fp32-tied-uneven", "accelerate2-w2-fp32-untied-uneven"])
def test_the_inner_folder_of_accelerate_is_taken_as_well(name: str, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("dcp", name)
    merge(place.checkpoint, tmp_path / "outer")
    merge(place.checkpoint / "pytorch_model_fsdp_0", tmp_path / "inner", base=place.source)
    assert_bits_equal(stored(tmp_path / "inner"), stored(tmp_path / "outer"))
