"""The names and shapes of the commonest classes, from the config alone: no torch, no transformers, no seconds.

    {"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, ...}
    -> {"model.embed_tokens.weight": (8, 4), "model.layers.0.self_attn.q_proj.weight": (4, 4), ...}

The classes are those of transformers' modeling_{qwen2,qwen3,llama,mistral,gemma2,gemma3,phi3,olmo2}.py; tests compare
the answers with the classes themselves. A config with any key or value that is not known to leave names and shapes
alone is not answered here: then the class is asked.
"""

from collections.abc import Callable
from typing import Any

from tbrm_bench.provenance import VOLATILE_KEYS

Shapes = dict[str, tuple[int, ...]]

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
CLASSES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
}
GEMMA = ("gemma2", "gemma3_text")
SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
)  # fmt: skip
BIASES = {
    "qwen2": (), "qwen3": ("attention_bias",), "llama": ("attention_bias", "mlp_bias"), "mistral": (),
    "gemma2": ("attention_bias",), "gemma3_text": ("attention_bias",), "phi3": (), "olmo2": ("attention_bias",),
}  # fmt: skip
# Of a layer, where they are not those of llama.
NORMS = {
    "olmo2": ("post_attention", "post_feedforward"),
    **dict.fromkeys(GEMMA, ("input", "post_attention", "pre_feedforward", "post_feedforward")),
}
# The numbers of a rotary table by its kind: those that it must have, those that it may have.
ROPES: dict[str, tuple[set[str], set[str]]] = {
    "default": (set(), set()),
    "linear": ({"factor"}, set()),
    "dynamic": ({"factor"}, set()),
    "yarn": (
        {"factor", "original_max_position_embeddings"},
        {"attention_factor", "attn_factor", "beta_fast", "beta_slow"},  # the second is DeepSeek-R1-0528-Qwen3-8B's
    ),
    "llama3": ({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}, set()),
}


def names_and_shapes(config: dict[str, Any]) -> tuple[Shapes, dict[str, str]] | None:
    """Return (name -> shape, tied name -> holder), as the class has them; None where the class must be asked."""
    family = config.get("model_type")
    if not isinstance(family, str) or config.get("architectures") != [CLASSES.get(family)]:
        return None
    is_tied = config.get("tie_word_embeddings", family in GEMMA or None)  # theirs alone leave it out on the Hub
    if not all(_is_size(config.get(key)) for key in SIZES) or type(is_tied) is not bool:
        return None
    if family == "phi3" and "pad_token_id" not in config:  # its class has one of its own, beyond a small vocabulary
        return None
    if not all(key in VOLATILE_KEYS or _is_known(key, value, config) for key, value in config.items()):
        return None
    head_dim = _head_dim(family, config)
    if head_dim is None:
        return None
    return _shapes(family, config, head_dim), {HEAD: EMBEDDING} if is_tied else {}


def _shapes(family: str, config: dict[str, Any], head_dim: int) -> Shapes:
    vocab, hidden, _, layers, heads, kv_heads = (config[key] for key in SIZES)
    layer: Shapes = {}
    for name, (rows, columns, bias) in _linears(family, config, head_dim).items():
        layer[f"{name}.weight"] = (rows, columns)
        if bias:
            layer[f"{name}.bias"] = (rows,)
    if family in ("qwen3", "gemma3_text"):
        layer |= {"self_attn.q_norm.weight": (head_dim,), "self_attn.k_norm.weight": (head_dim,)}
    if family == "olmo2":  # over all heads at once
        layer |= {"self_attn.q_norm.weight": (heads * head_dim,), "self_attn.k_norm.weight": (kv_heads * head_dim,)}
    layer |= {f"{name}_layernorm.weight": (hidden,) for name in NORMS.get(family, ("input", "post_attention"))}
    return {
        EMBEDDING: (vocab, hidden),
        **{f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in layer.items()},
        "model.norm.weight": (hidden,),
        HEAD: (vocab, hidden),
    }


def _linears(family: str, config: dict[str, Any], head_dim: int) -> dict[str, tuple[int, int, bool]]:
    """Return the matrices of a layer: name -> (rows, columns, whether it has a bias)."""
    _, hidden, inner, _, heads, kv_heads = (config[key] for key in SIZES)
    query, key_value = heads * head_dim, kv_heads * head_dim
    if family == "phi3":
        return {
            "self_attn.o_proj": (hidden, query, False),
            "self_attn.qkv_proj": (query + 2 * key_value, hidden, False),
            "mlp.gate_up_proj": (2 * inner, hidden, False),
            "mlp.down_proj": (hidden, inner, False),
        }
    attention_bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
    return {
        "self_attn.q_proj": (query, hidden, attention_bias or family == "qwen2"),
        "self_attn.k_proj": (key_value, hidden, attention_bias or family == "qwen2"),
        "self_attn.v_proj": (key_value, hidden, attention_bias or family == "qwen2"),
        "self_attn.o_proj": (hidden, query, attention_bias),
        "mlp.gate_proj": (inner, hidden, mlp_bias),
        "mlp.up_proj": (inner, hidden, mlp_bias),
        "mlp.down_proj": (hidden, inner, mlp_bias),
    }


def _head_dim(family: str, config: dict[str, Any]) -> int | None:
    """Return the width of a head; None where the classes disagree on what an absent or odd one means."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if hidden % heads or heads % config["num_key_value_heads"]:
        return None
    if _is_size(config.get("head_dim")):
        return int(config["head_dim"])
    absent = "head_dim" not in config if family in ("qwen2", "phi3", "olmo2") else config.get("head_dim") is None
    return hidden // heads if absent and family not in ("qwen3", *GEMMA) else None


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_number_or_none(value: object) -> bool:
    return value is None or _is_number(value)


def _is_rope(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not _is_number(value.get("rope_theta", 1.0)):
        return False
    kinds = {str(value[key]) for key in ("rope_type", "type") if key in value}  # the second is the older name
    if len(kinds) != 1 or (kind := kinds.pop()) not in ROPES:
        return False
    (needed, allowed), options = ROPES[kind], value.keys() - {"rope_type", "type", "rope_theta"}
    return needed <= options <= needed | allowed and all(_is_number(value[key]) for key in options)


def _is_rope_of_kinds(value: object) -> bool:
    """Whether it is what `_is_rope` takes, for all layers or one for each kind of layer."""
    kinds = {"full_attention", "sliding_attention"}
    if isinstance(value, dict) and value.keys() <= kinds:
        return all(isinstance(table, dict) and _is_rope(table) for table in value.values())
    return _is_rope(value)


def _is_longrope(value: object, config: dict[str, Any]) -> bool:
    """Whether it is what Phi-3's class takes: nothing, or two lists with a factor for each rotary frequency."""
    if value is None:
        return True
    rotary = config["hidden_size"] // config["num_attention_heads"] * config.get("partial_rotary_factor", 1.0)
    return (
        isinstance(value, dict)
        and value.keys() - {"type", "rope_type"} == {"long_factor", "short_factor"}
        and {value.get("type"), value.get("rope_type")} - {None} == {"longrope"}
        and all(
            isinstance(factors, list) and len(factors) == int(rotary) // 2 and all(map(_is_number, factors))
            for factors in (value["long_factor"], value["short_factor"])
        )
    )


def _is_id(value: object) -> bool:
    return value is None or type(value) is int


def _is_ids(value: object) -> bool:
    return _is_id(value) or (isinstance(value, list) and all(type(item) is int for item in value))


def _is_flag(value: object) -> bool:
    return type(value) is bool


# Keys of every family that change no name and no shape, with the values that the classes are known to take.
_KNOWN: dict[str, Callable[[object], bool]] = {
    "hidden_act": lambda value: value == "silu",
    "max_position_embeddings": _is_size,
    "initializer_range": _is_number,
    "rms_norm_eps": _is_number,
    "rope_theta": _is_number,
    "rope_scaling": _is_rope,
    "rope_parameters": _is_rope,
    "attention_dropout": _is_number,
    "use_cache": _is_flag,
    "bos_token_id": _is_id,
    "eos_token_id": _is_ids,
    "dtype": lambda value: value in (None, "float32", "bfloat16", "float16"),
    "torch_dtype": lambda value: value in (None, "float32", "bfloat16", "float16"),
    # Written by tools and older versions; the classes do not know them.
    "use_mrope": lambda value: value is False,
    "_attn_implementation_autoset": _is_flag,
    "unsloth_version": lambda value: isinstance(value, str),
    "unsloth_fixed": _is_flag,
}
_KNOWN_OF_GEMMA: dict[str, Callable[[object], bool]] = {
    "hidden_activation": lambda value: value == "gelu_pytorch_tanh",
    "hidden_act": lambda value: value in ("silu", "gelu_pytorch_tanh"),  # not looked at
    "attn_logit_softcapping": _is_number_or_none,
    "final_logit_softcapping": _is_number_or_none,
    "query_pre_attn_scalar": _is_number,
    "sliding_window": _is_size,
    "sliding_window_pattern": _is_size,
    "_sliding_window_pattern": _is_size,
    "rope_local_base_freq": _is_number,
    "rope_parameters": _is_rope_of_kinds,
    "cache_implementation": lambda value: isinstance(value, str),
    "use_bidirectional_attention": lambda value: value in (None, False),
}
_KNOWN_OF_FAMILY: dict[str, dict[str, Callable[[object], bool]]] = {
    "qwen2": {"use_sliding_window": _is_flag, "sliding_window": _is_id, "max_window_layers": _is_id},
    "qwen3": {"use_sliding_window": _is_flag, "sliding_window": _is_id, "max_window_layers": _is_id},
    "llama": {
        "pretraining_tp": lambda value: value == 1,
        # SmolLM's own, unknown to the class
        "is_llama_config": _is_flag,
        "rope_interleaved": lambda value: value is False,
        "transformers.js_config": lambda value: isinstance(value, dict),
    },
    "mistral": {"sliding_window": _is_id},
    "gemma2": _KNOWN_OF_GEMMA,
    "gemma3_text": _KNOWN_OF_GEMMA,
    "phi3": {
        "resid_pdrop": _is_number,
        "embd_pdrop": _is_number,
        "original_max_position_embeddings": _is_size,
        "partial_rotary_factor": _is_number,
        "sliding_window": _is_id,
        # Phi-4-mini's, unknown to the class; what its own code does with them is what the class does.
        "attention_bias": lambda value: value is False,
        "mlp_bias": lambda value: value is False,
        "lm_head_bias": lambda value: value is False,
        "full_attn_mod": lambda value: value == 1,
        "interpolate_factor": lambda value: value == 1,
        "auto_map": lambda value: isinstance(value, dict),
    },
    "olmo2": {},
}
_LAYER_KINDS = {
    "qwen2": {"full_attention"},
    "qwen3": {"full_attention"},
    "gemma2": {"full_attention", "sliding_attention"},
    "gemma3_text": {"full_attention", "sliding_attention"},
}


def _is_known(key: str, value: object, config: dict[str, Any]) -> bool:
    family = config["model_type"]
    if key in ("model_type", "architectures", "tie_word_embeddings", "head_dim", *SIZES):
        return True  # looked at by themselves
    if key in BIASES[family]:
        return _is_flag(value)
    if key == "pad_token_id":  # the embedding's constructor refuses one beyond its rows
        return value is None or (type(value) is int and 0 <= value < config["vocab_size"])
    if key == "layer_types":
        kinds = _LAYER_KINDS.get(family, set())
        return isinstance(value, list) and len(value) == config["num_hidden_layers"] and set(map(str, value)) <= kinds
    if key in ("rope_scaling", "rope_parameters") and family == "phi3":
        return _is_longrope(value, config)
    test = (_KNOWN | _KNOWN_OF_FAMILY[family]).get(key)
    return test is not None and test(value)
