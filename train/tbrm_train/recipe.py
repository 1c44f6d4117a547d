"""A training recipe: one TOML file, every key typed, and `key=value` words that override it.

    tbench train train/recipes/tiny-sft.toml output=/tmp/model optimizer.steps=50

Unknown keys are errors that name the nearest one, and so are values that cannot work: nothing is loaded before all of
them are checked. docs/train.md explains every key. Example, cut short:

    kind = "sft"
    output = "runs/tiny-sft"
    seed = 0
    [model]
    hidden_size = 128
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tbrm_bench.errors import UserError
from tbrm_bench.protocols import load_protocol
from tbrm_bench.tomlio import load_toml

# What attention on a CPU takes in vLLM 0.32; those up to 256 work on GPUs too.
HEAD_DIMS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
NUM_BASE_TOKENS = 256 + 3  # bytes and special tokens


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a Qwen2 model: sizes in floats, context in tokens."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    context_length: int

    @property
    def head_dim(self) -> int:
        """Floats a head, where the heads share the hidden size out evenly."""
        return self.hidden_size // self.num_heads


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
    betas: tuple[float, float]
    max_grad_norm: float


@dataclass(frozen=True, slots=True)
class SftRecipe:
    """Supervised training from nothing on solutions of a builtin generator: worked ones and, a share, bare values."""

    kind: Literal["sft"]
    output: str
    seed: int
    num_threads: int
    data: Literal["builtin:arithmetic"]
    direct_share: float
    protocol: str
    model: ModelShape
    tokenizer: TokenizerShape
    optimizer: Optimizer


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> SftRecipe:
    """Read and check a recipe; raises UserError that names the key, the value and what was expected."""
    recipe = load_toml(path, SftRecipe, overrides=overrides)
    for key, value, holds, wanted in itertools.chain(_ranges(recipe), _shapes(recipe.model)):
        if not holds:
            raise UserError(f"{path}: {key} is {value}; {wanted}")
    if not recipe.output:
        raise UserError(f"{path}: output is empty; name a folder: output=DIR")
    load_protocol(recipe.protocol)
    return recipe


# Ranges are written so that a NaN, which TOML has, fails too.
def _ranges(recipe: SftRecipe) -> Iterator[tuple[str, object, bool, str]]:
    """Yield (key, value, whether it is in range, what is needed)."""
    model, tokenizer, optimizer = recipe.model, recipe.tokenizer, recipe.optimizer
    counts = {
        "num_threads": recipe.num_threads,
        "model.hidden_size": model.hidden_size,
        "model.intermediate_size": model.intermediate_size,
        "model.num_layers": model.num_layers,
        "model.num_heads": model.num_heads,
        "model.num_kv_heads": model.num_kv_heads,
        "model.context_length": model.context_length,
        "tokenizer.num_texts": tokenizer.num_texts,
        "optimizer.steps": optimizer.steps,
        "optimizer.batch_size": optimizer.batch_size,
    }
    yield from ((key, value, value >= 1, "1 or more is needed") for key, value in counts.items())
    positive = {
        "optimizer.learning_rate": optimizer.learning_rate,
        "optimizer.max_grad_norm": optimizer.max_grad_norm,
    }
    yield from ((key, value, 0 < value < float("inf"), "more than 0 is needed") for key, value in positive.items())
    share = recipe.direct_share
    yield "direct_share", share, 0 <= share <= 1, "a share between 0 and 1 is needed"
    vocab, decay = tokenizer.vocab_size, optimizer.weight_decay
    yield "seed", recipe.seed, 0 <= recipe.seed < 2**63, "0 or more and below 2**63 is needed"
    yield "tokenizer.vocab_size", vocab, vocab >= NUM_BASE_TOKENS, f"{NUM_BASE_TOKENS} or more is needed"
    yield "optimizer.warmup_steps", optimizer.warmup_steps, optimizer.warmup_steps >= 0, "0 or more is needed"
    yield "optimizer.weight_decay", decay, 0 <= decay < float("inf"), "0 or more is needed"
    betas = list(optimizer.betas)
    in_range = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    yield "optimizer.betas", betas, in_range, "two numbers are needed, each 0 or more and below 1"


def _shapes(model: ModelShape) -> Iterator[tuple[str, object, bool, str]]:
    """Yield what the sizes of a model owe each other; each is known to be at least 1."""
    heads = model.num_heads
    yield "model.hidden_size", model.hidden_size, model.hidden_size % heads == 0, f"num_heads {heads} must divide it"
    yield "model.num_kv_heads", model.num_kv_heads, heads % model.num_kv_heads == 0, f"it must divide num_heads {heads}"
    sizes = f"hidden_size {model.hidden_size} / num_heads {heads} must be one of {', '.join(map(str, HEAD_DIMS))}"
    yield "the size of a head", model.head_dim, model.head_dim in HEAD_DIMS, sizes
