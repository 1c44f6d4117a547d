"""Before any engine loads: the weights are those of the class that the config names, or the run is refused by name."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import OTHER, TENSORS, Tensors, copy_of_tiny, save

from tbrm_bench.cli.app import main
from tbrm_bench.engines.base import EngineConfig
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.errors import UserError
from tbrm_bench.models.class_fit import Fit, FitQuestion, describe_fit
from tbrm_bench.models.door import open_model
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.weights import read_headers, require_weights, weights_fingerprint

EMBEDDING, HEAD, DOWN = "model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.down_proj.weight"


def without(*parts: str) -> Tensors:
    return {name: value for name, value in TENSORS.items() if not any(part in name for part in parts)}


def renamed(rename: Callable[[str], str]) -> Tensors:
    return {rename(name): value for name, value in TENSORS.items()}


def made(folder: Path, tensors: Tensors, **config: Any) -> Path:
    save(copy_of_tiny(folder, **config), tensors)
    return folder


def layers(number: int) -> dict[str, Any]:
    return {"num_hidden_layers": number, "layer_types": ["full_attention"] * number}


MISFITS: dict[str, tuple[Tensors, dict[str, Any], list[str]]] = {
    "a matrix is missing": (without(DOWN), {}, [f"1 missing ({DOWN})"]),
    "biases are missing": (without(".bias"), {}, ["9 missing", "q_proj.bias"]),
    "the tie flag is lost": (TENSORS, {"tie_word_embeddings": False}, [f"1 missing ({HEAD})", 'embeddings": true']),
    "a head of its own": (TENSORS | {HEAD: OTHER[EMBEDDING]}, {}, ["other values", '"tie_word_embeddings": false']),
    "fewer layers": (TENSORS, layers(2), ["12 additional", "model.layers.2."]),
    "more layers": (TENSORS, layers(4), ["12 missing", "model.layers.3."]),
    "another vocabulary": (TENSORS, {"vocab_size": 320}, ["(318, 128), the config makes it (320, 128)"]),
    "an unknown tensor": (TENSORS | {"model.gate": np.ones(2, np.float32)}, {}, ["1 additional (model.gate)"]),
    "an empty tensor": (TENSORS | {DOWN: np.ones(0, np.float32)}, {}, ["(0,)", "ZeRO-3", "tbench merge"]),
    "no prefix": (renamed(lambda name: name.removeprefix("model.")), {}, ['the prefix "model."']),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_weights_that_are_not_the_class_s_are_refused_by_name(what: str, tmp_path: Path) -> None:
    tensors, config, said = MISFITS[what]
    _, check = open_model(str(made(tmp_path / "m", tensors, **config)))
    with pytest.raises(UserError) as caught:
        check.finish(engine="vllm")
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


HEALTHY: dict[str, Tensors] = {
    "as saved": TENSORS,
    "the tied head is stored too": TENSORS | {HEAD: TENSORS[EMBEDDING]},
    "frequencies are stored": TENSORS | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(16, np.float32)},
    "layers that predict further": TENSORS | {"mtp.layers.0.mlp.up_proj.weight": np.ones((2, 2), np.float32)},
}


@pytest.mark.parametrize("what", HEALTHY)
def test_a_healthy_folder_is_not_warned_about(what: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "m", HEALTHY[what])
    model, check = open_model(str(folder))
    assert (check.finish(engine="vllm"), model.path) == ([], folder.resolve())


WRAPPED: dict[str, Tensors] = {
    "compiled": renamed(lambda name: f"_orig_mod.{name}"),
    "inside": renamed(lambda name: name.replace("mlp", "_orig_mod.mlp")),
    "data parallel": renamed(lambda name: f"module.{name}"),
    "with a value head": TENSORS | {"v_head.summary.weight": np.ones((1, 128), np.float32)},
    "the head in place of the embedding": renamed(lambda name: HEAD if name == EMBEDDING else name),
}


@pytest.mark.parametrize("what", WRAPPED)
def test_names_of_wrappers_are_read_as_the_model_s(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBENCH_CACHE", str(tmp_path / "cache"))
    model, check = open_model(str(made(tmp_path / "m", WRAPPED[what])))
    assert "a copy without that" in check.finish(engine="vllm")[0]
    assert weights_fingerprint(model.path) == weights_fingerprint(made(tmp_path / "plain", TENSORS))


def test_pickles_are_checked_without_being_run(tmp_path: Path) -> None:
    import torch

    folder = copy_of_tiny(tmp_path / "m")
    tensors = {name: torch.from_numpy(value.copy()) for name, value in TENSORS.items()}
    tensors[HEAD] = tensors[EMBEDDING]
    torch.save(tensors, folder / "pytorch_model.bin")
    assert open_model(str(folder))[1].finish(engine="vllm") == []
    torch.save(tensors | {HEAD: tensors[HEAD] + 1}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="other values"):
        open_model(str(folder))[1].finish(engine="vllm")
    del tensors[DOWN]
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=f"1 missing .{DOWN}"):
        open_model(str(folder))[1].finish(engine="vllm")


def test_quantised_weights_keep_every_module(tmp_path: Path) -> None:
    """A format renames what is in a module (GPTQ: qweight, scales), and keeps the module."""
    packed = {name.replace("proj.weight", "proj.qweight"): value for name, value in TENSORS.items()}
    folder = made(tmp_path / "m", packed, quantization_config={"quant_method": "gptq"})
    (warning,) = open_model(str(folder))[1].finish(engine="vllm")
    assert "could not be checked: they are quantised" in warning
    del packed[DOWN.replace("weight", "qweight")]
    save(folder, packed)
    with pytest.raises(UserError, match=f"lack 1 tensors of Qwen2ForCausalLM .{DOWN}"):
        open_model(str(folder))[1].finish(engine="vllm")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"quantization_config": {"quant_method": "fp8"}, "rope_theta": "own"}, "quantised"),
        ({"model_type": "invented", "architectures": ["InventedForCausalLM"]}, "invented"),
    ],
)
def test_what_cannot_be_checked_is_a_warning(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (warning,) = open_model(str(made(tmp_path / "m", without(DOWN), **config)))[1].finish(engine="vllm")
    assert "could not be checked" in warning
    assert why in warning


@pytest.mark.parametrize("engine", ["vllm", "hf"])
def test_a_dry_run_says_it_before_anything_is_loaded(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "m", without(DOWN))
    monkeypatch.setattr(sys, "argv", ["tbench", "eval", str(folder), "--dry-run", "--engine", engine, "--limit", "1"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert f"1 missing ({DOWN})" in capsys.readouterr().err
    save(folder, TENSORS)
    save(folder, OTHER, "other.safetensors")
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    assert "warning:" in (said := capsys.readouterr().err)
    assert "other.safetensors left out" in said


def test_transformers_own_report_is_believed(tmp_path: Path) -> None:
    """The second lock of the door, for classes that could not be asked: the hf engine draws nothing at random."""
    config = EngineConfig(str(made(tmp_path / "m", without(DOWN))), max_model_len=64, device="cpu")
    with pytest.raises(UserError, match=f"no weights for {DOWN}"), HfEngine(config):
        pass


def test_a_model_with_an_adapter_beside_it_is_the_model(tmp_path: Path) -> None:
    """transformers applies an adapter that it finds, a second time where it is merged already."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = made(tmp_path / "m", TENSORS)
    whole = AutoModelForCausalLM.from_pretrained(builtin_model_dir("tiny"), dtype=torch.float32)
    ids = torch.arange(3, 35)[None]
    expected = whole(input_ids=ids).logits
    adapted = get_peft_model(whole, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert not torch.allclose(adapted(input_ids=ids).logits, expected)
    adapted.save_pretrained(folder)
    model, check = open_model(str(folder))
    assert "adapter_config.json" in check.finish(engine="hf")[0]
    with HfEngine(EngineConfig(str(model.path), max_model_len=64, device="cpu")) as engine:
        assert torch.equal(engine.model(input_ids=ids).logits, expected)


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
EXPERTS = {
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "moe_intermediate_size": 16, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8,
    "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
}  # fmt: skip
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": SMALL, "gemma2": SMALL, "gemma3_text": SMALL, "phi3": SMALL, "gpt_neox": SMALL, "olmo2": SMALL,
    "glm4": SMALL, "olmo": SMALL, "mixtral": SMALL | EXPERTS, "qwen3_moe": SMALL | EXPERTS, "gpt2": GPT2,
    "deepseek_v3": SMALL | EXPERTS, "glm4_moe": SMALL | EXPERTS, "gpt_oss": SMALL | EXPERTS,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_freshly_saved_model_fits_and_any_less_does_not(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    config = AutoConfig.for_model(family, **FAMILIES[family])
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path)
    have = {name: tensor.shape for name, tensor in read_headers(require_weights(tmp_path)).items()}
    assert num_faults(tmp_path, have) == 0
    matrices = [name for name, shape in have.items() if len(shape) > 1 and shape != (64, 32)]
    lost = matrices[len(matrices) // 2]
    fit = describe_fit(tmp_path / "config.json", {name: shape for name, shape in have.items() if name != lost})
    assert isinstance(fit, Fit)
    assert fit.missing == (lost,)
    assert num_faults(tmp_path, have | {lost: (*have[lost][:-1], 7)}) > 0
    assert num_faults(tmp_path, have | {"model.gate": (2, 2)}) == 1


def num_faults(folder: Path, have: dict[str, tuple[int, ...]]) -> int:
    fit = describe_fit(folder / "config.json", have)
    assert isinstance(fit, Fit), fit
    return fit.num_faults


def test_names_that_transformers_reads_as_the_class_s_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2's repository has no prefix and the mask of its attention; layers that predict further are not needed."""
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2)).save_pretrained(tmp_path)
    have = {name: tensor.shape for name, tensor in read_headers(require_weights(tmp_path)).items()}
    hub = {name.removeprefix("transformer."): shape for name, shape in have.items() if name != HEAD}
    hub |= {f"h.{layer}.attn.bias": (1, 1, 64, 64) for layer in range(2)} | {"h.0.attn.masked_bias": ()}
    assert num_faults(tmp_path, hub) == 0
    del hub["h.1.mlp.c_fc.weight"]
    assert num_faults(tmp_path, hub) == 1


def test_another_process_answers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBENCH_CACHE", str(tmp_path / "cache"))
    folder = made(tmp_path / "m", without(DOWN), architectures=["Qwen2Model"])
    config = json.loads((folder / "config.json").read_text())
    have = {name: value.shape for name, value in without(DOWN).items()}
    first = FitQuestion(config, folder / "config.json", have).answer()
    monkeypatch.setattr("tbrm_bench.models.class_fit.sys.executable", os.devnull)
    assert FitQuestion(config, folder / "config.json", have).answer() == first
    assert isinstance(first, Fit)
    assert (first.cls, first.missing) == ("Qwen2ForCausalLM", (DOWN,))
