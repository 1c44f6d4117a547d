"""LoRA: the tensors that no adapter touches are the base's bits, the others what PEFT's merge_and_unload() computes.

The update is a sum of products, whose rounding depends on the order of the sum; and with a bf16 base PEFT rounds the
update and then the sum, where rounding once is nearer to the truth. So these tensors are compared to a tolerance: the
spacing of numbers of their size (fp32: a few of them; bf16: one and a half).
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints.compare import State, assert_bits_equal, expected_state, stored
from checkpoints.variants import LORA, LoraVariant, Place
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tbrm_bench.errors import UserError
from tbrm_bench.merge import MergeReport, merge

Find = Callable[[str, str], Place]
SPACINGS = {torch.float32: 8, torch.bfloat16: 1.5}
REFUSED = {"dora", "alpha_zero", "lora_shards_no_meta", "lora_shards_alpha_zero"}
MERGED = [variant for variant in LORA if variant.kind not in REFUSED]


def assert_adapted(place: Place, output: Path, report: MergeReport) -> None:
    base, merged, expected = (
        load_file(place.source / "model.safetensors"),
        stored(output),
        expected_state(place, report),
    )
    assert merged.keys() == expected.keys()
    changed = {name for name, tensor in expected.items() if not torch.equal(tensor, base[name])}
    assert changed, "the adapter changes nothing: this would prove nothing"
    same = merged.keys() - changed
    assert_bits_equal({name: merged[name] for name in same}, {name: base[name] for name in same})
    for name in changed:
        assert_close(name, merged, expected)
    AutoModelForCausalLM.from_pretrained(output)


def assert_close(name: str, merged: State, expected: State) -> None:
    ours, peft = merged[name], expected[name]
    assert (ours.dtype, ours.shape) == (peft.dtype, peft.shape), name
    spacing = torch.finfo(peft.dtype).eps * peft.double().abs().clamp(min=peft.double().abs().mean())
    assert ((ours.double() - peft.double()).abs() <= SPACINGS[peft.dtype] * spacing).all(), name


@pytest.mark.parametrize("variant", MERGED, ids=lambda variant: variant.name)
def test_it_is_what_peft_merges(variant: LoraVariant, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("lora", variant.name)
    base = place.source if variant.world_size == 1 else None
    report = merge(place.checkpoint, tmp_path / "out", base=base)
    assert report.format == ("lora" if variant.world_size == 1 else "fsdp")
    assert_adapted(place, tmp_path / "out", report)


def test_the_base_is_found_in_the_adapters_config(checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("lora", "lora-w1-fp32-tied")
    report = merge(place.checkpoint, tmp_path / "out")
    assert_adapted(place, tmp_path / "out", report)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("alpha_zero-w1-fp32-tied", "alpha"),
        ("lora_shards_alpha_zero-w2-fp32-tied", "alpha"),
        ("lora_shards_no_meta-w2-fp32-tied", "alpha"),
        ("dora-w1-fp32-tied", "DoRA"),
    ],
)
def test_what_would_be_merged_wrongly_is_refused(name: str, word: str, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("lora", name)
    with pytest.raises(UserError, match=word):
        merge(place.checkpoint, tmp_path / "out", base=place.source)
    assert not (tmp_path / "out").exists()
