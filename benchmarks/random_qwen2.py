"""Qwen2 models with random weights, which cost what trained ones cost: for measurements, nothing else.

    shape("small")                         a configuration, 37 million weights
    write_model("small", Path("/tmp/m"))   a folder with the tokenizer of builtin:tiny, which any trainer loads

Example: `1.5b` has the shape of Qwen2.5-1.5B: 28 layers of width 1536, 2 key-value heads, 151,936 tokens, tied.
"""

import json
import shutil
from pathlib import Path
from typing import Any

SEED = 0
# hidden size, intermediate size, layers, heads, key-value heads, vocabulary
SIZES: dict[str, tuple[int, int, int, int, int, int]] = {
    "toy": (128, 512, 4, 4, 2, 4096),
    "small": (512, 2048, 8, 8, 2, 16384),
    "medium": (768, 3072, 12, 12, 2, 16384),
    "1.5b": (1536, 8960, 28, 12, 2, 151936),
}


def shape(size: str, *, vocabulary: int | None = None) -> Any:
    """Return the Qwen2Config of a size, with another vocabulary if one is given."""
    from transformers import Qwen2Config

    hidden, intermediate, layers, heads, kv_heads, tokens = SIZES[size]
    return Qwen2Config(
        vocab_size=vocabulary or tokens,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        use_cache=False,
    )


def make_model(size: str, *, dtype: str, device: str, gradient_checkpointing: bool = False) -> Any:
    """Return the model of a size in training mode, the same weights at every call."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(SEED)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape(size), dtype=getattr(torch, dtype), attn_implementation="sdpa")
    model.train()
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def write_model(size: str, folder: Path) -> None:
    """Write a float32 model with the vocabulary and the tokenizer of builtin:tiny, as a Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM

    from tbrm_bench.models.resolve import resolve_model

    tiny = resolve_model("builtin:tiny").path
    stored = json.loads((tiny / "config.json").read_text(encoding="utf-8"))
    config = shape(size, vocabulary=stored["vocab_size"])
    config.use_cache = True  # for whoever samples with it
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, key, stored.get(key))
    torch.manual_seed(SEED)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    for file in tiny.iterdir():
        if "token" in file.name or file.suffix == ".jinja":
            shutil.copy(file, folder)
