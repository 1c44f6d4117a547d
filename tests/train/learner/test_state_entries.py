"""What a model is made of goes everywhere: to the reference, to the rollout engine, into the checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tbrm_bench.resources import builtin_model_dir
from tbrm_train.learner.state_entries import kept_buffers, state_entries
from tbrm_train.policy.policy import Policy, load_model, make_batch

Runs = Any  # of conftest.py
# One step that moves nothing.
STILL = ("optimizer.steps=1", "optimizer.learning_rate=0", "prompts.validation=0", "rollout.max_tokens=8")
ROUTED = {"num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_shared_experts": 1, "first_k_dense_replace": 1}
ROUTED |= {"n_routed_experts": 4, "n_group": 1, "topk_group": 1}
# Families whose checkpoints hold more than parameters: the scale of a layer, the bias of a router.
FAMILIES: dict[str, dict[str, Any]] = {
    "gemma4_text": {
        **{"head_dim": 8, "global_head_dim": 8, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0},
        **{"final_logit_softcapping": None, "layer_types": ["sliding_attention", "full_attention"]},
    },
    "glm4_moe": {**ROUTED, "head_dim": 8},
    "deepseek_v3": {
        **ROUTED,
        **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8},
        "num_key_value_heads": 4,
    },
    # Its routers jitter in training mode, by default.
    "phimoe": {"num_local_experts": 4, "attention_dropout": 0.1},
}


def make_model(family: str, folder: Path) -> Path:
    """Write a model with random weights, and buffers far from what they start as, over the bundled tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(builtin_model_dir("tiny"), folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    tiny = json.loads((builtin_model_dir("tiny") / "config.json").read_text())
    vocabulary = {key: tiny[key] for key in ("vocab_size", "eos_token_id", "pad_token_id")}
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    shape |= {"num_key_value_heads": 2, "max_position_embeddings": 4096, "bos_token_id": None}
    per_layer = {"vocab_size_per_layer_input": tiny["vocab_size"]} if family == "gemma4_text" else {}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**vocabulary, **shape, **per_layer, **FAMILIES[family]})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, entry in model.state_dict().items():
            is_scale = "layer_scalar" in name
            entry.copy_(torch.full_like(entry, 4.25) if is_scale else entry + 0.3 * torch.randn(entry.shape))
    model.save_pretrained(folder)
    return folder


def logits(folder: Path, dtype: str) -> torch.Tensor:
    """Log-probabilities of some tokens by the model in a folder."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    with torch.no_grad():
        return torch.as_tensor(model(torch.arange(5, 69)[None]).logits)


@pytest.mark.parametrize(
    ("family", "dtype", "stage"),
    [
        ("gemma4_text", "bfloat16", 1),
        ("deepseek_v3", "bfloat16", 3),
        pytest.param("glm4_moe", "float32", 0, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_an_untrained_model_is_the_model(
    family: str, dtype: str, stage: int, runs: Runs, tmp_path: Path
) -> None:
    source, output = make_model(family, tmp_path / "model"), tmp_path / "run"
    words = (f"model={source}", f"output={output}", f"deepspeed.dtype={dtype}", f"deepspeed.zero_stage={stage}")
    done = runs.train("tiny-tbrm", *words, *STILL, "rollout.probe_tolerance=0.2")
    assert done.codes == [0], done.err
    written = output / "checkpoints" / "step-000001"
    before, after = load_file(source / "model.safetensors"), load_file(written / "model.safetensors")
    assert set(after) == set(before)
    for name, entry in after.items():
        assert torch.equal(entry, before[name].to(entry.dtype)), name
    assert torch.equal(logits(written, dtype), logits(source, dtype))


def test_a_generation_config_that_transformers_would_not_write_is_kept_as_it_is(runs: Runs, tmp_path: Path) -> None:
    """Greedy with a temperature, as many folders on the Hub have it."""
    source = tmp_path / "model"
    shutil.copytree(builtin_model_dir("tiny"), source)
    file = source / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_sample": False, "temperature": 0.9}))
    done = runs.train("tiny-tbrm", f"model={source}", f"output={tmp_path / 'run'}", *STILL)
    assert done.codes == [0], done.err
    written = tmp_path / "run" / "checkpoints" / "step-000001" / file.name
    assert written.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("dtype", "stage"),
    [
        ("bfloat16", 1),
        pytest.param("bfloat16", 3, marks=pytest.mark.slow),
        pytest.param("float32", 0, marks=pytest.mark.slow),
    ],
)
def test_a_policy_that_has_not_moved_is_its_reference_at_two_thousand_tokens(
    dtype: str, stage: int, runs: Runs, tmp_path: Path
) -> None:
    """Of prompts of different lengths; log_ratio is the sum over a response, kl never cancels."""
    with (tmp_path / "rows.jsonl").open("w") as stream:
        for number in range(8):
            question = f"What is {number + 1} + 2? " + "Think well. " * (220 + 5 * number)
            stream.write(json.dumps({"q": question, "a": str(number + 3)}) + "\n")
    rows = ["prompts.source=rows", f"prompts.data_dir={tmp_path}", "prompts.rows.files=['rows.jsonl']"]
    rows += ["prompts.rows.question=q", "prompts.rows.answer=a"]
    rows += ["rollout.prompts_per_step=2", "rollout.samples_per_prompt=2"]
    words = (f"output={tmp_path / 'run'}", f"deepspeed.dtype={dtype}", f"deepspeed.zero_stage={stage}")
    done = runs.train("tiny-tbrm", *words, *rows, *STILL, "rollout.probe_tolerance=0.5")
    assert done.codes == [0], done.err
    (line,) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert line["tokens/trained"] / 4 > 2048
    assert line["log_ratio"] == 0
    assert line["kl"] == 0
    assert line["entropy"] > 0, "something was computed"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_scores_are_not_left_to_chance(checkpointing: bool, tmp_path: Path) -> None:
    folder = make_model("phimoe", tmp_path / "model")
    model = load_model(folder, dtype="float32", gradient_checkpointing=checkpointing)
    policy, batch = Policy(model, temperature=1.0), make_batch([((5, 6), tuple(range(7, 40)))], device="cpu")
    assert torch.equal(policy(batch).logprobs, policy(batch).logprobs)
    assert any(module.training for module in model.modules()) == checkpointing, "it would not checkpoint"


def test_buffers_keep_dtype_and_value_where_a_whole_module_is_cast() -> None:
    """As DeepSpeed did before 0.19."""
    module = torch.nn.Linear(2, 2)
    module.register_buffer("inv_freq", torch.tensor([1 / 3]), persistent=False)
    module.register_buffer("bias_of_router", torch.tensor([1 / 7]))
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with kept_buffers(module):
        module.bfloat16()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())


def test_entries_are_what_a_state_dict_holds_each_once() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    module[2].weight = module[0].weight
    module.register_buffer("position", torch.zeros(1), persistent=False)
    assert set(dict(state_entries(module))) == set(module.state_dict()) - {"2.weight"}
