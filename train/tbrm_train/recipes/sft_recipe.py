"""A training recipe: one TOML file, every key typed, and `key=value` words that override it.

    tbench train train/recipes/tiny-sft.toml output=/tmp/model optimizer.steps=50

Unknown keys are errors that name the nearest known one, and so are values that cannot work: all are checked before
anything is loaded. docs/train.md explains every key. Example, cut short:

    kind = "sft"
    output = "runs/tiny-sft"
    seed = 0
    [model]
    hidden_size = 128
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from tbrm_bench.config import Count, NotNegative, Positive, Seed, Share, Text, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import load_protocol

# What vLLM 0.32 supports for attention on a CPU; those up to 256 work on GPUs too.
HEAD_DIMS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
NUM_BASE_TOKENS = 256 + 3  # bytes and special tokens
Beta = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a Qwen2 model: sizes in floats, context in tokens."""

    hidden_size: Count
    intermediate_size: Count
    num_layers: Count
    num_heads: Count
    num_kv_heads: Count
    context_length: Count

    @property
    def head_dim(self) -> int:
        """Floats per head; the heads divide the hidden size evenly."""
        return self.hidden_size // self.num_heads


@dataclass(frozen=True, slots=True)
class TokenizerShape:
    """A byte-level BPE: 256 bytes, three special tokens, merges up to `vocab_size` learned from `num_texts` texts."""

    vocab_size: Annotated[int, Ge(NUM_BASE_TOKENS)]
    num_texts: Count


@dataclass(frozen=True, slots=True)
class SftOptimizer:
    """AdamW with linear warm-up and cosine decay to zero; `batch_size` is in conversations per step."""

    steps: Count
    batch_size: Count
    learning_rate: Positive
    warmup_steps: Annotated[int, Ge(0)]
    weight_decay: NotNegative
    betas: tuple[Beta, Beta]
    max_grad_norm: Positive


@dataclass(frozen=True, slots=True)
class SftRecipe:
    """Supervised training from scratch on solutions of a builtin generator, of which `direct_share` are bare values."""

    kind: Literal["sft"]
    output: Text
    seed: Seed
    num_threads: Count
    data: Literal["builtin:arithmetic"]
    direct_share: Share
    protocol: str
    model: ModelShape
    tokenizer: TokenizerShape
    optimizer: SftOptimizer


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> SftRecipe:
    """Read and check a recipe; raises UserError that names the key, the value and what was expected."""
    recipe = load_toml(path, SftRecipe, overrides=overrides)
    for key, value, holds, wanted in _shapes(recipe.model):
        if not holds:
            raise UserError(f"{path}: {key} is {value}; {wanted}")
    load_protocol(recipe.protocol)
    return recipe


def _shapes(model: ModelShape) -> Iterator[tuple[str, object, bool, str]]:
    """Yield the rules between the sizes of a model, all of which are at least 1."""
    heads = model.num_heads
    yield "model.hidden_size", model.hidden_size, model.hidden_size % heads == 0, f"num_heads {heads} must divide it"
    yield "model.num_kv_heads", model.num_kv_heads, heads % model.num_kv_heads == 0, f"it must divide num_heads {heads}"
    sizes = f"hidden_size {model.hidden_size} / num_heads {heads} must be one of {', '.join(map(str, HEAD_DIMS))}"
    yield "the size of a head", model.head_dim, model.head_dim in HEAD_DIMS, sizes
