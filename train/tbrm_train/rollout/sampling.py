"""Rollout engines: trajectories from the current policy, by vLLM in this process, or by transformers as a reference.

    with make_rollouts(model_dir, settings, ...) as rollouts:
        rollouts.load(policy.weights())            # after every step; then a probe compares log-probabilities
        samples = rollouts.generate(requests)      # in the order of the requests

Every training process has its own engine and samples its shard of the prompts: engines do not communicate. vLLM 0.32
and DeepSpeed share one process and one process group, also with several processes (`external_launcher`), if DeepSpeed
initialises the group first; closing the engine destroys the group, so it is closed last.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tbrm_bench.engines.base import EngineConfig
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.engines.vllm import VllmEngine
from tbrm_bench.errors import RunFailed
from tbrm_bench.records import Sample, SampleRequest
from tbrm_train.recipes.rl_recipe import Rollout

if TYPE_CHECKING:
    import torch

Weights = Iterable[tuple[str, "torch.Tensor"]]


@dataclass(frozen=True, slots=True)
class Continuation:
    """A prompt and a continuation, as token ids."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]


class Rollouts:
    """An engine of the bench whose weights can be replaced; a context manager."""

    engine: Any

    def generate(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """Return one sample per request, in the order of the requests."""
        found = {sample.key: sample for samples in self.engine.generate(requests) for sample in samples}
        return [found[request.key] for request in requests]

    def load(self, weights: Weights) -> None:
        """Replace all weights; names as in the Hugging Face model, including `lm_head.weight` even if tied."""
        raise NotImplementedError

    def logprobs(self, sequences: Sequence[Continuation]) -> list[list[float]]:
        """Return the log-probability of every response token at temperature 1, in nats."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Load the model."""
        self.engine.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the model."""
        self.engine.__exit__(kind, error, trace)


class VllmRollouts(Rollouts):
    """vLLM in this process."""

    def __init__(self, config: EngineConfig, *, world_size: int, gpu_memory: float) -> None:
        """Choose device and dtype; raises MissingExtra if vLLM is not installed."""
        # Tensors are passed to the engine by reference, so its core must run in this process.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        self.engine = _TrainingVllm(config, world_size=world_size, gpu_memory=gpu_memory)

    def load(self, weights: Weights) -> None:
        """Replace all weights, and drop the prefix cache, which was computed with the old ones."""
        llm = self.engine.llm
        llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        llm.reset_prefix_cache()

    def logprobs(self, sequences: Sequence[Continuation]) -> list[list[float]]:
        """Return the log-probability of every response token, as vLLM computes it for a prompt."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=1.0, prompt_logprobs=0, ignore_eos=True)
        prompts = [{"prompt_token_ids": [*item.prompt, *item.response]} for item in sequences]
        outputs = self.engine.llm.generate(prompts, params, use_tqdm=False)
        return [
            [found[token].logprob for found, token in zip(output.prompt_logprobs[-count:], item.response, strict=True)]
            for item, output in zip(sequences, outputs, strict=True)
            if (count := len(item.response))
        ]


class _TrainingVllm(VllmEngine):
    """The bench's engine, sharing memory and process group with a trainer."""

    def __init__(self, config: EngineConfig, *, world_size: int, gpu_memory: float) -> None:
        super().__init__(config)
        self.world_size = world_size
        self.gpu_memory = gpu_memory

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        if self.world_size > 1:
            options["distributed_executor_backend"] = "external_launcher"
        if self.device != "cpu":
            options["gpu_memory_utilization"] = self.gpu_memory
        return options


class HfRollouts(Rollouts):
    """transformers' `generate` on a copy of the model: slow and simple, a reference."""

    def __init__(self, config: EngineConfig, *, world_size: int = 1, gpu_memory: float = 1.0) -> None:
        """Choose device and dtype; `world_size` and `gpu_memory` are ignored."""
        self.engine = HfEngine(config)

    def load(self, weights: Weights) -> None:
        """Replace all weights."""
        import torch

        own = dict(self.engine.model.state_dict(keep_vars=True))
        filled = set()
        with torch.no_grad():
            for name, tensor in weights:
                # Not every head is called `lm_head.weight`, and a tied one is filled already.
                if name in own:
                    own[name].data.copy_(tensor)
                    filled.add(id(own[name]))
        left = [name for name, entry in own.items() if id(entry) not in filled]
        if left:
            raise RunFailed(f"the trainer has no weights for {', '.join(left[:3])} of the rollout engine's model")

    def logprobs(self, sequences: Sequence[Continuation]) -> list[list[float]]:
        """Return the log-probability of every response token, one sequence at a time."""
        import torch

        model = self.engine.model
        found = []
        for item in sequences:
            ids = torch.tensor([[*item.prompt, *item.response]], device=model.device)
            with torch.inference_mode():
                table = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(dim=-1)
            count = len(item.response)
            found.append(table[-count:].gather(1, ids[0, -count:, None])[:, 0].tolist())
        return found


# By `rollout.engine` of a recipe: the engines of the bench whose weights can be replaced.
ROLLOUTS: dict[str, type[VllmRollouts | HfRollouts]] = {"vllm": VllmRollouts, "hf": HfRollouts}


def make_rollouts(model_dir: str, settings: Rollout, *, max_model_len: int, dtype: str, world_size: int) -> Rollouts:
    """Return the recipe's engine, not loaded yet; `max_model_len` is prompt plus response, in tokens."""
    config = EngineConfig(
        model_dir=model_dir,
        # One more token, since vLLM generates one after a probe of full length.
        max_model_len=max_model_len + 1,
        dtype=dtype,  # type: ignore[arg-type]
        max_num_seqs=settings.max_num_seqs,
    )
    return ROLLOUTS[settings.engine](config, world_size=world_size, gpu_memory=settings.gpu_memory)


def probe_differences(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Iterator[float]:
    """Yield |difference| of every token's log-probability, in nats."""
    for mine, other in zip(ours, theirs, strict=True):
        yield from (abs(a - b) for a, b in zip(mine, other, strict=True))
