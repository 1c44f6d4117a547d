"""The names and shapes told from a config alone are exactly those of transformers' classes, or are not told."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.merge.model.expected import describe
from tbrm_bench.merge.model.families import CLASSES, GEMMA, names_and_shapes

SLIDING = {"use_sliding_window": False, "sliding_window": 16, "max_window_layers": 1}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 500000.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
ROPES: list[dict[str, Any]] = [
    {"rope_scaling": YARN}, {"rope_scaling": YARN | {"attn_factor": 0.8782488562869419}, "rope_theta": 1e6},
    {"rope_scaling": {"type": "linear", "factor": 2.0}}, {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
    {"rope_parameters": YARN | {"rope_theta": 1e6, "beta_fast": 32, "beta_slow": 1}},
]  # fmt: skip
OF_FAMILY: dict[str, list[dict[str, Any]]] = {
    "qwen2": [SLIDING, {"head_dim": 6}, {"layer_types": ["full_attention"] * 2, "num_hidden_layers": 2}],
    "qwen3": [SLIDING, {"head_dim": 10}, {"attention_bias": True}, {"attention_bias": False}],
    "llama": [{"attention_bias": True}, {"mlp_bias": True}, {"head_dim": 6}, {"head_dim": None}, {"pretraining_tp": 1},
              {"rope_scaling": LLAMA3}, {"rope_parameters": LLAMA3}, {"attention_bias": False, "mlp_bias": False}],
    "mistral": [{"head_dim": 6}, {"head_dim": None}, {"sliding_window": None}, {"sliding_window": 8}],
    "gemma2": [{"tie_word_embeddings": True}, {"attention_bias": True}, {"attn_logit_softcapping": 50.0},
               {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4096,
                "cache_implementation": "hybrid", "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 224},
               {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}],
    "gemma3_text": [{"sliding_window_pattern": 6, "rope_local_base_freq": 10000, "sliding_window": 512},
                    {"_sliding_window_pattern": 6, "use_bidirectional_attention": False, "rope_parameters": {
                        kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("full_attention",
                                                                                       "sliding_attention")}},
                    {"attn_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh", "pad_token_id": 0}],
    "phi3": [{"rope_scaling": {"type": "longrope", "long_factor": [2.0], "short_factor": [1]},
              "original_max_position_embeddings": 4096, "max_position_embeddings": 131072, "hidden_size": 12,
              "num_attention_heads": 3, "num_key_value_heads": 1, "partial_rotary_factor": 0.75},
             {"attention_bias": False, "mlp_bias": False, "lm_head_bias": False, "full_attn_mod": 1,
              "interpolate_factor": 1, "sliding_window": 8, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
              "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}],
    "olmo2": [{"attention_bias": True}, {"rope_scaling": None, "rope_theta": 500000}],
}  # fmt: skip
OF_FAMILY["llama"] += [{"is_llama_config": True, "rope_interleaved": False, "transformers.js_config": {"dtype": "q4"}}]
for name in ("qwen2", "qwen3", "llama", "mistral"):
    OF_FAMILY[name] += [rope | {"head_dim": 64} for rope in ROPES]  # of which YaRN's ramp needs some
ALWAYS: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 4}, "gemma2": {"head_dim": 10}, "gemma3_text": {"head_dim": 4}, "phi3": {"pad_token_id": None}
}  # fmt: skip
SHARED: list[dict[str, Any]] = [
    {}, {"pad_token_id": 0}, {"eos_token_id": [2, 3]}, {"rope_theta": 1e6}, {"rope_scaling": None},
    {"dtype": "bfloat16"}, {"hidden_act": "silu", "attention_dropout": 0.0, "transformers_version": "4.40.0"},
]  # fmt: skip
# (heads, key-value heads, hidden)
HEADS = [(4, 4, 16), (4, 2, 16), (4, 1, 24), (6, 3, 12), (1, 1, 8)]


def configs(family: str) -> list[dict[str, Any]]:
    """Every option of the family at least once, tied and untied, over heads that share keys or do not."""
    draw = random.Random(family)
    found = []
    for number, option in enumerate([*OF_FAMILY[family], *SHARED] * 2):
        heads, key_values, hidden = HEADS[number % len(HEADS)]
        config = {
            "model_type": family, "architectures": [CLASSES[family]], "vocab_size": draw.randrange(5, 40),
            "hidden_size": hidden, "intermediate_size": draw.randrange(3, 30), "num_hidden_layers": 1 + number % 3,
            "num_attention_heads": heads, "num_key_value_heads": key_values, "tie_word_embeddings": number % 3 == 0,
        }  # fmt: skip
        found.append(config | ALWAYS.get(family, {}) | option)
    if family in GEMMA:  # whose configs on the Hub leave out that they are tied
        del found[-1]["tie_word_embeddings"]
    return found


@pytest.mark.parametrize("family", sorted(CLASSES))
def test_the_answer_is_the_class_s_own(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for config in configs(family):
        answer = names_and_shapes(copy.deepcopy(config))
        assert answer is not None, config
        (tmp_path / "config.json").write_text(json.dumps(config))
        described = describe(tmp_path / "config.json")
        assert "error" not in described, config
        assert {name: list(shape) for name, shape in answer[0].items()} == described["names"], config
        assert (answer[1], {}, []) == (described["tied"], described["stored"], described["ignored"]), config


@pytest.mark.parametrize(
    "change",
    [
        {"quantization_config": {"bits": 4}}, {"auto_map": {"AutoModelForCausalLM": "x.Y"}}, {"num_experts": 4},
        {"mlp_bias": True}, {"attention_bias": True}, {"hidden_act": "relu"}, {"pad_token_id": 999}, {"head_dim": None},
        {"head_dim": 0}, {"vocab_size": "40"}, {"hidden_size": 17}, {"num_key_value_heads": 3},
        {"num_hidden_layers": 0},
        {"architectures": ["Qwen2ForSequenceClassification"]}, {"architectures": []}, {"model_type": "qwen2_moe"},
        {"model_type": ["qwen2"]}, {"rope_scaling": {"rope_type": "own"}}, {"layer_types": ["linear_attention"]},
        {"tie_word_embeddings": 1}, {"use_sliding_window": "no"},
    ],
    ids=lambda change: "-".join(change),
)  # fmt: skip
def test_what_may_change_a_shape_is_left_to_the_class(change: dict[str, Any]) -> None:
    config = configs("qwen2")[0]
    assert names_and_shapes(config) is not None
    assert names_and_shapes(config | change) is None


@pytest.mark.parametrize("family", sorted(CLASSES))
def test_a_size_that_the_config_leaves_out_is_never_guessed(family: str) -> None:
    config = configs(family)[-1]
    tie = () if family in GEMMA else ("tie_word_embeddings",)
    for key in ("vocab_size", "num_key_value_heads", "num_hidden_layers", *tie, *ALWAYS.get(family, {})):
        assert names_and_shapes({name: value for name, value in config.items() if name != key}) is None


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gemma3_text", {"layer_types": ["full_attention"] * 99}),
        ("gemma3_text", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}),
        ("gemma2", {"hidden_activation": "silu"}),
        ("phi3", {"rope_scaling": {"type": "longrope", "long_factor": [1] * 99, "short_factor": [1] * 99}}),
        ("phi3", {"rope_scaling": {"type": "yarn", "factor": 2.0}}),
        ("phi3", {"attention_bias": True}),
        ("olmo2", {"mlp_bias": True}),
        ("llama", {"rope_interleaved": True}),
        ("llama", {"rope_scaling": {"type": "linear"}}),
        ("llama", {"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 2.0}}),
    ],
)
def test_so_is_what_the_other_families_may_have(family: str, change: dict[str, Any]) -> None:
    config = configs(family)[0]
    assert names_and_shapes(config) is not None
    assert names_and_shapes(config | change) is None
