"""How a benchmark is put to a model: template, sampling, stops, seed. One TOML file in `tasks/protocols/`.

Published scores of one model on one benchmark differ by 17 points, and the protocol is why; so every field is explicit,
none is derived from the model's name, and the tokens that come of it are in a run's lock. docs/protocols.md explains
every key and every protocol shipped. Example, cut short:

    seed = 42
    [chat]
    system = "Answer briefly."
    user = "{question}\nAnswer:"
    add_generation_prompt = true
    [default_sampling]
    samples = 1
    temperature = 0.0
    top_p = 1.0
    max_tokens = 512
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Le

from tbrm_bench.config import Count, NotNegative, load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import DEFAULT_POLICY, GradingPolicy
from tbrm_bench.resources import data_dir
from tbrm_bench.tasks.spec import task_names

QUESTION = "{question}"
MIN_TEMPERATURE = 0.01  # vLLM draws at 0.01 whatever is between 0 and that


@dataclass(frozen=True, slots=True)
class TaskSampling:
    """Samples per problem, and how they are drawn; temperature 0 is greedy, max_tokens bounds the new tokens."""

    samples: Count
    temperature: NotNegative
    top_p: Annotated[float, Gt(0), Le(1)]
    max_tokens: Count


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Messages for the model's own chat template. No system message where `system` is empty.

    `user` is the user's turn, with `{question}` once; whatever instruction is appended is in it.
    """

    system: str
    user: str
    add_generation_prompt: bool


@dataclass(frozen=True, slots=True)
class RawFormat:
    """The whole prompt as text, with `{question}` once. Special tokens are written out; a BOS is added by itself."""

    prompt: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol. Generation ends at any of `stop_strings`, `stop_tokens` or, if `model_eos`, the model's own EOS.

    `long_prompts` says what a prompt is that leaves less room in the model's context than `max_tokens`: an error, or a
    reason to shorten its own cap to the room that is left. `strict_boxed` and `policy` are the grader's.
    """

    name: str
    title: str
    source: str
    notes: str
    seed: int
    strict_boxed: bool
    long_prompts: Literal["error", "shorten"]
    model_eos: bool
    stop_strings: tuple[str, ...]
    stop_tokens: tuple[str, ...]
    default_sampling: TaskSampling
    chat: ChatFormat | None = None
    raw: RawFormat | None = None
    task_sampling: Mapping[str, TaskSampling] = field(default_factory=dict)
    policy: GradingPolicy = DEFAULT_POLICY

    @property
    def template(self) -> Literal["chat", "raw"]:
        """Which of the two formats the protocol has."""
        return "raw" if self.chat is None else "chat"

    def sampling(self, task: str) -> TaskSampling:
        """Return how the task is sampled: its own table if it has one, else the default."""
        return self.task_sampling.get(task, self.default_sampling)


def protocol_names() -> list[str]:
    """Return the names of the protocols that are shipped, sorted."""
    return sorted(path.stem for path in (data_dir("tasks") / "protocols").glob("*.toml"))


def load_protocol(name_or_path: str, *, tasks: Iterable[str] = ()) -> Protocol:
    """Return a protocol by name, or from a file when the text ends in `.toml`; raises UserError.

    `tasks` are those besides the shipped ones that it may have a table of its own for.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        return _check(load_toml(path, Protocol, name=path.stem), path, tasks)
    if name_or_path not in protocol_names():
        raise UserError(f"no protocol {name_or_path!r}; {did_you_mean(name_or_path, protocol_names())}")
    path = data_dir("tasks") / "protocols" / f"{name_or_path}.toml"
    return _check(load_toml(path, Protocol, name=name_or_path), path)


def _check(protocol: Protocol, path: Path, tasks: Iterable[str] = ()) -> Protocol:
    if (protocol.chat is None) == (protocol.raw is None):
        raise UserError(f"{path}: a protocol has either [chat] or [raw]; give one of them")
    text = protocol.chat.user if protocol.chat else protocol.raw.prompt if protocol.raw else ""
    if text.count(QUESTION) != 1:
        key = "[chat] user" if protocol.chat else "[raw] prompt"
        raise UserError(f"{path}: {key} holds {QUESTION} {text.count(QUESTION)} times; it must hold it once")
    if "" in protocol.stop_strings:
        raise UserError(f"{path}: stop_strings holds an empty string, which stops at once; remove it")
    known = {*task_names(), *tasks}
    for name, sampling in {"": protocol.default_sampling, **protocol.task_sampling}.items():
        if name and name not in known:
            raise UserError(f"{path}: [task_sampling.{name}] names no task; {did_you_mean(name, known)}")
        _check_sampling(sampling, f"{path}: [{f'task_sampling.{name}' if name else 'default_sampling'}]")
    return protocol


def _check_sampling(sampling: TaskSampling, place: str) -> None:
    if 0 < sampling.temperature < MIN_TEMPERATURE:
        raise UserError(
            f"{place} temperature is {sampling.temperature}, which vLLM would raise to {MIN_TEMPERATURE}; "
            f"use 0 (greedy) or {MIN_TEMPERATURE} or more"
        )
    if sampling.temperature == 0 and sampling.samples > 1:
        raise UserError(f"{place} draws {sampling.samples} greedy samples, which are copies; use 1 or a temperature")
