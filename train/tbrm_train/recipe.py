"""A training recipe: one TOML file, every key typed, and `key=value` words that override it.

    tbench train train/recipes/tiny-sft.toml output=/tmp/model optimizer.steps=50

Unknown keys are errors that name the nearest one. Example, cut short:

    kind = "sft"
    output = "runs/tiny-sft"
    seed = 0
    [model]
    hidden_size = 128
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tbrm_bench.tomlio import load_toml


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a Qwen2 model; head_dim must be 32 or 64 for vLLM on a CPU."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    context_length: int


@dataclass(frozen=True, slots=True)
class TokenizerShape:
    """A byte-level BPE: 256 bytes, three special tokens, merges up to `vocab_size` learnt from `num_texts` texts."""

    vocab_size: int
    num_texts: int


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW with linear warm-up and cosine decay to zero; `batch_size` counts conversations a step."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    betas: tuple[float, ...]
    max_grad_norm: float


@dataclass(frozen=True, slots=True)
class SftRecipe:
    """Supervised training from nothing on worked solutions of a builtin generator."""

    kind: Literal["sft"]
    output: str
    seed: int
    num_threads: int
    data: Literal["builtin:arithmetic"]
    protocol: str
    model: ModelShape
    tokenizer: TokenizerShape
    optimizer: Optimizer


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> SftRecipe:
    """Read and check a recipe; raises UserError that names the key, the value and what was expected."""
    return load_toml(path, SftRecipe, overrides=overrides)
