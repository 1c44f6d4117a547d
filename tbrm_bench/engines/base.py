"""What every engine is to the rest of the project.

An engine takes an iterable of requests and yields samples as they finish, in any order. It draws requests lazily, so
that memory does not grow with the number of samples, and it draws the tokens of a request from that request's seed
alone, so that a sample does not depend on its neighbours.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from tbrm_bench.records import Sample, SampleRequest

DType = Literal["auto", "float32", "bfloat16", "float16"]
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


class Engine(Protocol):
    """A model that is loaded and ready; use it as a context manager."""

    def identity(self) -> Mapping[str, str | int]:
        """Return what goes into the lock: name, version, dtype, device kind, tensor_parallel."""
        ...

    def generate(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Yield one Sample a request, as they finish."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
