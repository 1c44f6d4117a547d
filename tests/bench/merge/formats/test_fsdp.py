"""FSDP1, FSDP2, HSDP and tensor-parallel meshes: bit by bit what torch itself gathers from the same shards."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints.compare import assert_bits_equal, assert_merged, expected_state, stored
from checkpoints.variants import FSDP, FSDP_FULL, FsdpVariant, Place

from tbrm_bench.merge import merge

Find = Callable[[str, str], Place]
BUFFERS = {"a_buf", "num_steps", "model.layers.0.scale"}


def check_merge(variant: FsdpVariant, place: Place, output: Path) -> None:
    base = None if variant.huggingface else place.source
    report = merge(place.checkpoint, output, base=base)
    assert (report.format, report.world_size) == ("fsdp", variant.world_size)
    assert {name for name, _reason in report.dropped} == (BUFFERS if variant.buffers else set())
    assert_merged(place, output, report)


@pytest.mark.parametrize("variant", FSDP, ids=lambda variant: variant.name)
def test_it_is_what_torch_gathers(variant: FsdpVariant, checkpoint: Find, tmp_path: Path) -> None:
    check_merge(variant, checkpoint("fsdp", variant.name), tmp_path / "out")


@pytest.mark.slow
def test_every_mesh_dtype_and_shape(checkpoint: Find, tmp_path: Path) -> None:
    for variant in FSDP_FULL:
        check_merge(variant, checkpoint("fsdp", variant.name), tmp_path / variant.name)


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.bfloat16), ("fp32", torch.float16), ("bf16", torch.float32)]
)
def test_a_cast_rounds_as_torch_does(name: str, dtype: torch.dtype, checkpoint: Find, tmp_path: Path) -> None:
    variant = next(variant for variant in FSDP if variant.dtype == name and variant.world_size == 4)
    place = checkpoint("fsdp", variant.name)
    report = merge(place.checkpoint, tmp_path / "out", dtype=str(dtype).removeprefix("torch."))
    assert_merged(place, tmp_path / "out", report, dtype)


@pytest.mark.parametrize("size", [1, 40_000, "60KB", "1GB"])
def test_the_shards_sizes_change_nothing_but_the_files(size: int | str, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("fsdp", "fsdp2-w4-fp32-tied-uneven")
    report = merge(place.checkpoint, tmp_path / "out", max_shard_size=size)
    whole = merge(place.checkpoint, tmp_path / "whole")
    state = stored(tmp_path / "out")
    assert_bits_equal(state, expected_state(place, report))
    assert report.fingerprint == whole.fingerprint
    limit = {1: 1, 40_000: 40_000, "60KB": 60_000, "1GB": 10**9}[size]
    for file in (tmp_path / "out").glob("*.safetensors"):
        assert file.stat().st_size <= limit + 4096 or sum(name in state for name in stored_names(file)) == 1


def stored_names(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as tensors:
        return list(tensors.keys())


def test_the_tokenizer_and_the_generation_config_come_along(checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("fsdp", "fsdp2-w2-bf16-tied-uneven")
    merge(place.checkpoint, tmp_path / "out")
    for file in (place.checkpoint / "huggingface").iterdir():
        if file.name != "config.json":
            assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def test_merging_changes_nothing_in_the_checkpoint(copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", "fsdp1-w2-bf16-untied-uneven")
    before = {path: path.read_bytes() for path in place.checkpoint.rglob("*") if path.is_file()}
    merge(place.checkpoint, tmp_path / "out")
    assert {path: path.read_bytes() for path in place.checkpoint.rglob("*") if path.is_file()} == before
