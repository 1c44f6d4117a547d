"""What every engine is to the rest of the project.

An engine takes an iterable of requests and yields samples as they finish, in any order, those that finish together in
one list, so that they are stored together. It draws requests lazily, so that memory does not grow with the number of
samples, and it draws the tokens of a request from that request's seed alone, so that a sample does not depend on its
neighbours.
"""

import ctypes
import json
import shutil
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Protocol, Self

from tbrm_bench.config import Spelt
from tbrm_bench.errors import MissingExtra, MissingPrerequisite
from tbrm_bench.provenance import versions
from tbrm_bench.records import Sample, SampleRequest
from tbrm_bench.weights import dtype_name

DType = Annotated[Literal["auto", "float32", "bfloat16", "float16"], Spelt(dtype_name)]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What a user may choose. `max_model_len` is the longest prompt plus its token cap, in tokens."""

    model_dir: str
    max_model_len: int
    dtype: DType = "auto"
    device: Device = "auto"
    tensor_parallel: int = 1
    trust_remote_code: bool = False
    max_num_seqs: int | None = None


@dataclass(frozen=True, slots=True)
class EngineAbout:
    """What the rest of the project asks of an engine before it is loaded."""

    builds: Mapping[str, str]  # distribution -> its extra, for a GPU first; exactly one of them is needed
    probe: str  # words of Python that import it and print its version, for `tbench doctor`
    settings: tuple[str, ...]  # the fields of EngineConfig that it reads
    reads_native: bool = False  # Mistral's own format of weights
    has_own_classes: bool = False  # instead of code that lies beside a model
    length_regimes: Mapping[str, int] = field(default_factory=dict)  # start of a model type -> see `positions`


class Engine(Protocol):
    """A model that is loaded and ready; use it as a context manager."""

    """A model that is loaded and ready; use it as a context manager."""

    def identity(self) -> Mapping[str, str | int]:
        """Return what goes into the lock: name, version, dtype, device kind, tensor_parallel."""
        ...

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        """Yield one Sample per request, as they finish, in lists that are not empty."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EngineClass(Protocol):
    """The class of an engine that can be named."""

    about: EngineAbout

    def __call__(self, config: EngineConfig, /) -> Engine:
        """Settle device, dtype and version without loading anything; raises MissingExtra or MissingPrerequisite."""
        ...


def installed_build(about: EngineAbout) -> str:
    """Return the distribution of an engine that is installed; raises MissingExtra with the extra for this machine."""
    found = versions(about.builds)
    for build in about.builds:
        if build in found:
            return build
    has_gpu = shutil.which("nvidia-smi") is not None or resolve_device("auto") == "cuda"
    raise MissingExtra(next(iter(about.builds)), list(about.builds.values())[0 if has_gpu else -1])


def resolve_device(device: Device) -> Literal["cpu", "cuda"]:
    """Return the device that is really used; raises MissingPrerequisite when a GPU was asked for and there is none."""
    if device == "cpu":
        return "cpu"
    try:
        import torch
    except ImportError:
        if device == "auto":
            return "cpu"
        raise MissingExtra("torch", "hf") from None
    if torch.cuda.is_available():
        return "cuda"
    if device == "auto":
        return "cpu"
    raise MissingPrerequisite(
        f"device=cuda was asked for, but torch {torch.__version__} finds no GPU; use --set device=cpu"
    )


def resolve_dtype(config: EngineConfig, device: str) -> DType:
    """Return the dtype that is really used: float32 on a CPU, else the checkpoint's own (float32 becomes bfloat16)."""
    if config.dtype != "auto":
        return config.dtype
    if device == "cpu":
        return "float32"
    stored = model_config(config.model_dir)
    return "float16" if stored.get("dtype", stored.get("torch_dtype")) == "float16" else "bfloat16"


def kv_cache_bytes(config: EngineConfig, dtype: DType, *, num_tokens: int) -> int:
    """Return an upper bound for the bytes of the keys and values of `num_tokens` tokens."""
    stored = model_config(config.model_dir)
    num_heads = stored.get("num_attention_heads", 1)
    head_dim = stored.get("head_dim") or stored.get("hidden_size", 0) // num_heads
    num_kv_heads = stored.get("num_key_value_heads") or num_heads
    width = 4 if dtype == "float32" else 2
    return int(2 * stored.get("num_hidden_layers", 1) * num_kv_heads * head_dim * width * num_tokens)


def model_config(model_dir: str) -> dict[str, Any]:
    """Return config.json as it is."""
    config: dict[str, Any] = json.loads((Path(model_dir) / "config.json").read_text(encoding="utf-8"))
    return config


def trim_heap() -> None:
    """Give freed memory back to the system: glibc would keep every step's activations in a heap full of holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own; musl and macOS have none
    if trim is not None:
        trim(0)
