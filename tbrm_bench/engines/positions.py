"""Models whose positions depend on how long a sequence may get, and engines that keep that fixed for each task.

LongRoPE (arXiv 2402.13753; Phi-3, Phi-3.5, Phi-4-mini) has two sets of rotary factors, for sequences up to its original
context and beyond it: `{"rope_type": "longrope", "short_factor": [...], "long_factor": [...]}` with
`original_max_position_embeddings` 4096. Keys of one sequence must not mix them. vLLM chooses once, by the longest
sequence that it is asked to allow (`max_model_len`), so by the other tasks of a run; transformers chooses at every
step, by the longest row of a batch. Llama 4 in vLLM turns its attention temperature on likewise, beyond 32,768.

Here each task has one regime: `up to 4096` if all of its prompts with all their new tokens fit, whatever --limit
takes, else `beyond 4096`. It is in the task's lock, and tasks of two regimes get two engines, one after the other.
No other rotary embedding of vLLM 0.32 depends on `max_model_len`: default, linear, ntk, dynamic, yarn, llama3, mrope
and their kin read the config alone.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from tbrm_bench.engines import engine_class
from tbrm_bench.engines.base import Engine
from tbrm_bench.errors import UserError
from tbrm_bench.records import Sample, SampleRequest

# Configurations of transformers with a default of their own, which wins over the rotary table's entry.
ORIGINAL_CONTEXT = {"phi3": 4096, "phi4mm": 4096, "phi4_multimodal": 4096}


def position_limit(config: Mapping[str, Any], engine: str) -> int | None:
    """Return the length in tokens beyond which `engine` gives every position other values; None if there is none."""
    nested = config.get("text_config")
    text: Mapping[str, Any] = nested if isinstance(nested, dict) else config
    context = text.get("max_position_embeddings") or 0
    kind = str(text.get("model_type", ""))
    regimes = engine_class(engine).about.length_regimes
    limit = next((tokens for start, tokens in regimes.items() if kind.startswith(start)), None)
    for table in _rope_tables(text):
        if "long_factor" in table and "short_factor" in table:
            default = ORIGINAL_CONTEXT.get(kind) or table.get("original_max_position_embeddings") or context
            limit = text.get("original_max_position_embeddings") or default
    return limit if type(limit) is int and 0 < limit < context else None


def _rope_tables(text: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("rope_scaling", "rope_parameters"):
        table = text.get(key)
        if isinstance(table, dict):
            yield table
            yield from (inner for inner in table.values() if isinstance(inner, dict))


def regime(limit: int, longest: int) -> str:
    """Name the regime of a task whose longest sequence has `longest` tokens, as it is in the lock."""
    return f"beyond {limit}" if longest > limit else f"up to {limit}"


class EnginePerTask:
    """Engines of several regimes as one: each is loaded when the requests reach its tasks, and left before the next."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """Take the engine of each task; they differ in nothing but how long a sequence may get."""
        self.engines = engines

    def identity(self) -> Mapping[str, str | int]:
        """Return the lock's fields, which all the engines share."""
        return next(iter(self.engines.values())).identity()

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        """Yield samples as the engine of their task does; requests of one engine should be neighbours."""
        for engine, group in itertools.groupby(requests, key=lambda request: self.engines[request.key.task]):
            with engine:
                yield from engine.generate(group)

    def __enter__(self) -> Self:
        """Load nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing: each engine was left when its tasks ended."""


def use_long_factors(model: Any) -> None:
    """Give a loaded transformers model its long rotary factors at every length, as vLLM does beyond the limit.

    Raises UserError for a model whose rotary embedding cannot be held to them.
    """
    fixed = [_fix(module) for module in model.modules() if getattr(module, "rope_type", None) == "longrope"]
    if not fixed or not all(fixed):
        raise UserError(
            f"{type(model).__name__} in transformers changes its rotary factors with the length of a batch, and its "
            "longest sequence here needs the long ones throughout; use --engine vllm, or --max-tokens so that all fit"
        )


def _fix(rotary: Any) -> bool:
    """Fix one rotary embedding; return whether it then computes what it should."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    beyond = rotary.config.rope_parameters["original_max_position_embeddings"] + 1
    inv_freq, scaling = ROPE_INIT_FUNCTIONS["longrope"](rotary.config, rotary.inv_freq.device, seq_len=beyond)
    rotary.register_buffer("inv_freq", inv_freq, persistent=False)
    rotary.original_inv_freq = inv_freq
    rotary.rope_type = "default"  # the one that is never updated
    positions = torch.arange(8, device=inv_freq.device)[None]  # (1, T)
    found, _ = rotary(torch.zeros(1, 1, 1, device=inv_freq.device), positions)  # (1, T, D)
    wanted = (positions[..., None] * inv_freq).cos() * scaling  # (1, T, D / 2)
    return bool(torch.allclose(found[..., : wanted.shape[-1]], wanted, atol=1e-4))
