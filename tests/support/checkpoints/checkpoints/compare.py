"""What a merged folder must be: the tensors of the reference, bit by bit, in a folder that transformers loads."""

import json
from pathlib import Path
from typing import Any

import torch
from checkpoints.variants import Place
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from tbrm_bench.merge import MergeReport

State = dict[str, torch.Tensor]
TOKENS = torch.tensor([[5, 17, 101, 3, 77, 250, 9, 12]])
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def stored(folder: Path) -> State:
    """Return all tensors of a model folder; no name may stand in two files, and an index must name them all."""
    state: State = {}
    where: dict[str, str] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors = load_file(file)
        assert not tensors.keys() & state.keys(), f"doubled: {tensors.keys() & state.keys()}"
        state |= tensors
        where |= dict.fromkeys(tensors, file.name)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        about = json.loads(index.read_text())
        assert about["weight_map"] == where
        assert about["metadata"]["total_size"] == sum(tensor.nbytes for tensor in state.values())
    else:
        assert set(where.values()) == {"model.safetensors"}
    return state


def assert_bits_equal(state: State, expected: State) -> None:
    """Every tensor has the name, dtype, shape and bits of the expected one; 0.0 is not -0.0 here."""
    assert state.keys() == expected.keys(), f"differing names: {sorted(state.keys() ^ expected.keys())}"
    for name, tensor in state.items():
        want = expected[name]
        assert (tensor.dtype, tensor.shape) == (want.dtype, want.shape), name
        bits = INTEGERS[tensor.element_size()]
        assert torch.equal(tensor.view(bits), want.view(bits)), f"{name} differs"


def expected_state(place: Place, report: MergeReport, dtype: torch.dtype | None = None) -> State:
    """Return the reference as a model folder must hold it: a tied head once, what was dropped not at all."""
    state = load_file(place.reference)
    config = AutoConfig.from_pretrained(place.source)
    if config.tie_word_embeddings:
        embedding = "transformer.wte.weight" if config.model_type == "gpt2" else "model.embed_tokens.weight"
        assert set(report.tied) <= {("lm_head.weight", embedding)}
        assert torch.equal(state.pop("lm_head.weight", state[embedding]), state[embedding])
    else:
        assert not report.tied
    dropped = {name for name, _reason in report.dropped}
    state = {name: tensor for name, tensor in state.items() if name not in dropped}
    if dtype is None:
        return state
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def assert_merged(place: Place, output: Path, report: MergeReport, dtype: torch.dtype | None = None) -> None:
    """The folder is the reference, the report tells the truth, and transformers computes with it what it should."""
    state = stored(output)
    expected = expected_state(place, report, dtype)
    assert_bits_equal(state, expected)
    assert report.output == output
    assert report.num_tensors == len(state)
    assert report.num_bytes == sum(tensor.nbytes for tensor in state.values())
    assert report.verified
    assert_loads(output, expected)


def assert_loads(output: Path, expected: State) -> None:
    """transformers finds every weight, no other, and its logits are those of the expected weights."""
    dtype = expected["model.norm.weight"].dtype
    model, about = AutoModelForCausalLM.from_pretrained(output, dtype=dtype, output_loading_info=True)
    assert not any(about[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), about
    source = AutoModelForCausalLM.from_config(model.config, dtype=dtype)
    missing, unexpected = source.load_state_dict(expected, strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if model.config.tie_word_embeddings else [])
    source.tie_weights()
    assert torch.equal(logits(model), logits(source))


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        answer: torch.Tensor = model.eval()(TOKENS).logits
    assert answer.isfinite().all()
    return answer
