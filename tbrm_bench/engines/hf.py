"""transformers' `generate`, batched: the reference that the fast engine is held against.

The library draws all rows of a batch from one generator, so a sample would depend on its neighbours. Here a logits
processor draws the token of each row from that row's own generator (inverse transform of the cumulative
probabilities) and leaves it as the only finite logit; `generate` then runs greedily. Temperature and top-p are the
library's own processors.
"""

import importlib.metadata
import itertools
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tbrm_bench.engines.base import EngineAbout, EngineConfig, model_config, resolve_device, resolve_dtype
from tbrm_bench.engines.finite import FiniteLogits
from tbrm_bench.engines.positions import position_limit, use_long_factors
from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.prompts.tokenizer import open_tokenizer
from tbrm_bench.records import Sample, SampleRequest, Sampling

if TYPE_CHECKING:
    import torch

DEFAULT_BATCH_SIZE = 32


class HfEngine:
    """One transformers model in this process."""

    name = "hf"
    about = EngineAbout(
        builds={"transformers": "hf"},
        probe="import transformers; transformers.AutoModelForCausalLM; print(transformers.__version__)",
        settings=("device", "dtype", "trust_remote_code", "max_num_seqs"),
    )

    def __init__(self, config: EngineConfig) -> None:
        """Settle device, dtype and version without loading the model; raises MissingExtra or MissingPrerequisite."""
        for package in ("torch", "transformers"):
            try:
                self.version = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                raise MissingExtra(package, "hf") from None
        self.config = config
        self.device = resolve_device(config.device)
        self.dtype = resolve_dtype(config, self.device)
        self.model: Any = None
        self.tokenizer: Any = None

    def identity(self) -> Mapping[str, str | int]:
        """Return the lock's fields of this engine."""
        return {
            "name": self.name,
            "version": self.version,
            "device": self.device,
            "dtype": self.dtype,
            "tensor_parallel": 1,
        }

    def __enter__(self) -> Self:
        """Load the model and its tokenizer."""
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        options = {"trust_remote_code": self.config.trust_remote_code, "local_files_only": True}
        self.model, report = AutoModelForCausalLM.from_pretrained(
            self.config.model_dir, dtype=self.dtype, output_loading_info=True, **options
        )
        check_loaded(self.config.model_dir, self.model, report)
        self.model.to(self.device).eval()
        limit = position_limit(model_config(self.config.model_dir), self.name)
        if limit is not None and self.config.max_model_len > limit:
            use_long_factors(self.model)
            # Phi-3 would recompute its cache where it used to change factors.
            self.model.config.original_max_position_embeddings = self.config.max_model_len
        # An empty one: `generate` would otherwise fill what is unset from the model's folder.
        self.model.generation_config = GenerationConfig()
        self.tokenizer = open_tokenizer(
            Path(self.config.model_dir), trust_remote_code=self.config.trust_remote_code
        ).tokenizer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the model."""
        self.model = None

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        """Yield samples batch by batch, in the order of the requests."""
        for sampling, group in itertools.groupby(requests, key=lambda request: request.sampling):
            while batch := list(itertools.islice(group, self.config.max_num_seqs or DEFAULT_BATCH_SIZE)):
                yield self._generate_batch(batch, sampling)

    def _generate_batch(self, batch: Sequence[SampleRequest], sampling: Sampling) -> list[Sample]:
        import torch
        from transformers import GenerationConfig

        width = max(len(request.prompt_token_ids) for request in batch)
        input_ids = torch.zeros((len(batch), width), dtype=torch.long)
        attention_mask = torch.zeros_like(input_ids)
        for row, request in enumerate(batch):
            length = len(request.prompt_token_ids)
            input_ids[row, width - length :] = torch.tensor(request.prompt_token_ids)
            attention_mask[row, width - length :] = 1
        # A row that has stopped is filled with this id, which therefore must be one that stops.
        pad_token_id = sampling.stop_token_ids[0] if sampling.stop_token_ids else 0
        config = GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            eos_token_id=list(sampling.stop_token_ids) or None,
            pad_token_id=pad_token_id,
            stop_strings=list(sampling.stop) or None,
        )
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=input_ids.to(self.device),
                attention_mask=attention_mask.to(self.device),
                generation_config=config,
                logits_processor=[
                    FiniteLogits(width, sampling.stop_token_ids, self.dtype),
                    *_processors(batch, sampling),
                ],
                tokenizer=self.tokenizer if sampling.stop else None,
            )
        return [self._to_sample(request, row) for request, row in zip(batch, output[:, width:].tolist(), strict=True)]

    def _to_sample(self, request: SampleRequest, row: list[int]) -> Sample:
        sampling = request.sampling
        token_ids, text = self._cut(row, sampling)
        stopped = text is not None or (bool(token_ids) and token_ids[-1] in sampling.stop_token_ids)
        if text is None:
            text = self._decode(token_ids, sampling)
        return Sample(
            key=request.key,
            seed=request.seed,
            text=text,
            token_ids=tuple(token_ids),
            finish_reason="stop" if stopped else "length",
            num_prompt_tokens=len(request.prompt_token_ids),
        )

    def _cut(self, row: list[int], sampling: Sampling) -> tuple[list[int], str | None]:
        """Return the row up to its end, and the text before a stop string if one ended it."""
        ends = [index for index, token in enumerate(row) if token in sampling.stop_token_ids]
        token_ids = row[: ends[0] + 1] if ends else row
        if not sampling.stop:
            return token_ids, None
        for length in range(1, len(token_ids) + 1):
            text = self._decode(token_ids[:length], sampling)
            found = [position for stop in sampling.stop if (position := text.find(stop)) >= 0]
            if found:
                return token_ids[:length], text[: min(found)]
        return token_ids, None

    def _decode(self, token_ids: list[int], sampling: Sampling) -> str:
        if token_ids and token_ids[-1] in sampling.stop_token_ids:
            token_ids = token_ids[:-1]
        text: str = self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def check_loaded(model_dir: str | Path, model: Any, report: Mapping[str, Any]) -> None:
    """Raise UserError if a parameter did not come from the folder: transformers would draw it at random."""
    lost = report["missing_keys"] | {name for name, *_ in report["mismatched_keys"]}
    drawn = sorted(lost & {name for name, _ in model.named_parameters()})
    if drawn:
        more = f" and {len(drawn) - 1} more" if len(drawn) > 1 else ""
        raise UserError(
            f"{model_dir} has no weights for {drawn[0]}{more} of {type(model).__name__}; save or copy the model again"
        )


def _processors(batch: Sequence[SampleRequest], sampling: Sampling) -> list[Any]:
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    if sampling.temperature == 0:
        return []
    processors: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return [*processors, SeededChoice([request.seed for request in batch])]


class SeededChoice:
    """A logits processor that draws one token per row from that row's generator and forbids all others."""

    def __init__(self, seeds: Sequence[int]) -> None:
        """Make one CPU generator per seed, so that a GPU draws what a CPU draws."""
        import torch

        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Take scores (B, V) and return (B, V) with 0 at the drawn token and -inf elsewhere."""
        import torch

        draws = [torch.rand(1, generator=generator, dtype=torch.float64) for generator in self.generators]
        uniform = torch.stack(draws).to(scores.device)  # (B, 1)
        probabilities = scores.double().softmax(dim=-1)  # (B, V)
        cumulative = probabilities.cumsum(dim=-1)
        # Scaled by the last sum, so that rounding cannot draw beyond the last possible token.
        chosen = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter(1, chosen, 0.0)
