"""Before anything is generated: everything that decides a score, settled, checked and hashed into the lock.

`prepare` reads the model's files, loads the problems, renders the prompts and settles the engine's device and dtype,
without loading the model. What it returns says what would be generated; `tbench eval --dry-run` prints it.
"""

import datetime
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.engines.base import Device, DType, Engine, EngineConfig
from tbrm_bench.errors import UserError
from tbrm_bench.models import Model, resolve_model
from tbrm_bench.problems import load_problems, rows_hash
from tbrm_bench.prompts import check_lengths, load_tokenizer, prompts_hash, render_prompts, stop_token_ids
from tbrm_bench.protocols import Protocol, load_protocol
from tbrm_bench.provenance import config_fingerprint, digest, hardware, versions
from tbrm_bench.records import Problem, Prompt, SampleKey, SampleRequest, Sampling
from tbrm_bench.seeds import sample_seed
from tbrm_bench.tasks import load_task
from tbrm_bench.weights import weights_fingerprint

EngineName = Literal["vllm", "hf"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--set key=value` may change: the engine's options, the run seed and the grader's processes."""

    device: Device = "auto"
    dtype: DType = "auto"
    tensor_parallel: int = 1
    trust_remote_code: bool = False
    max_num_seqs: int | None = None
    seed: int | None = None
    grader_workers: int = 1


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """A command line, parsed. `samples` and `max_tokens` override the protocol; `limit` keeps the first rows."""

    model: str
    tasks: tuple[str, ...]
    protocol: str
    engine: EngineName = "vllm"
    samples: int | None = None
    max_tokens: int | None = None
    limit: int | None = None
    data_dir: Path | None = None
    out: Path | None = None
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a run: its problems, their prompts in the same order, and how to sample."""

    name: str
    problems: list[Problem]
    prompts: list[Prompt]
    num_samples: int
    sampling: Sampling

    def requests(self, missing: Iterator[SampleKey], seed: int) -> Iterator[SampleRequest]:
        """Yield one request a missing sample."""
        prompts = {prompt.key.problem_id: prompt.token_ids for prompt in self.prompts}
        for key in missing:
            yield SampleRequest(key, prompts[key.problem_id], self.sampling, sample_seed(seed, key))


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is ready to start."""

    model: Model
    protocol: Protocol
    tasks: list[TaskPlan]
    engine: Engine
    seed: int
    lock: Mapping[str, Any]
    about: Mapping[str, Any]
    run_dir: Path
    grader_workers: int

    @property
    def warnings(self) -> list[str]:
        """What is allowed and probably not meant."""
        return [
            f"{task.name} is greedy under protocol {self.protocol.name}; its {task.num_samples} samples are copies"
            for task in self.tasks
            if task.sampling.temperature == 0 and task.num_samples > 1
        ]

    @property
    def num_samples(self) -> int:
        """The number of samples of the complete run."""
        return sum(len(task.problems) * task.num_samples for task in self.tasks)

    @property
    def max_new_tokens(self) -> int:
        """The most tokens that the complete run can generate."""
        return sum(len(task.problems) * task.num_samples * task.sampling.max_tokens for task in self.tasks)


def prepare(options: EvalOptions) -> Plan:
    """Settle and check a run; raises UserError, MissingExtra or MissingPrerequisite before anything is generated."""
    _check_counts(options)
    protocol = load_protocol(options.protocol)
    problems = {name: _load(name, options) for name in dict.fromkeys(options.tasks)}
    model = resolve_model(options.model)
    tokenizer = load_tokenizer(model.path, trust_remote_code=options.settings.trust_remote_code)
    stop_ids = stop_token_ids(tokenizer, model.path, protocol)
    tasks = [_plan_task(name, rows, protocol, tokenizer, stop_ids, options) for name, rows in problems.items()]
    for task in tasks:
        check_lengths(task.prompts, task.sampling.max_tokens, model.context_length, task.name)
    engine = _make_engine(model, tasks, options)
    seed = protocol.seed if options.settings.seed is None else options.settings.seed
    lock = _lock(model, tasks, engine, seed)
    return Plan(
        model=model,
        protocol=protocol,
        tasks=tasks,
        engine=engine,
        seed=seed,
        lock=lock,
        about=_about(model, protocol, options),
        run_dir=options.out or _default_run_dir(model, protocol, lock),
        grader_workers=options.settings.grader_workers,
    )


def _check_counts(options: EvalOptions) -> None:
    for flag, value in (
        ("--samples", options.samples),
        ("--max-tokens", options.max_tokens),
        ("--limit", options.limit),
        ("--set tensor_parallel", options.settings.tensor_parallel),
        ("--set grader_workers", options.settings.grader_workers),
        ("--set max_num_seqs", options.settings.max_num_seqs),
    ):
        if value is not None and value < 1:
            raise UserError(f"{flag} is {value}, but at least 1 is needed")
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise UserError(
            f"--data {options.data_dir} is not a folder; give the folder with the tasks' JSONL or Parquet files"
        )


def _load(name: str, options: EvalOptions) -> list[Problem]:
    problems = load_problems(load_task(name), data_dir=options.data_dir)
    return problems[: options.limit]


def _plan_task(
    name: str,
    problems: list[Problem],
    protocol: Protocol,
    tokenizer: Any,
    stop_ids: tuple[int, ...],
    options: EvalOptions,
) -> TaskPlan:
    chosen = protocol.sampling(name)
    sampling = Sampling(
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        max_tokens=options.max_tokens or chosen.max_tokens,
        stop=protocol.stop_strings,
        stop_token_ids=stop_ids,
    )
    return TaskPlan(
        name=name,
        problems=problems,
        prompts=render_prompts(problems, protocol, tokenizer),
        num_samples=options.samples or chosen.samples,
        sampling=sampling,
    )


def _make_engine(model: Model, tasks: list[TaskPlan], options: EvalOptions) -> Engine:
    longest = max(len(prompt.token_ids) + task.sampling.max_tokens for task in tasks for prompt in task.prompts)
    settings = options.settings
    config = EngineConfig(
        model_dir=str(model.path),
        max_model_len=longest,
        dtype=settings.dtype,
        device=settings.device,
        tensor_parallel=settings.tensor_parallel,
        trust_remote_code=settings.trust_remote_code,
        max_num_seqs=settings.max_num_seqs,
    )
    if options.engine == "hf":
        from tbrm_bench.engines.hf import HfEngine

        return HfEngine(config)
    from tbrm_bench.engines.vllm import VllmEngine

    return VllmEngine(config)


def _lock(model: Model, tasks: list[TaskPlan], engine: Engine, seed: int) -> dict[str, Any]:
    """Return what decides a score, and nothing else; the number of samples is not in it, so that k may grow."""
    return {
        "model": {"weights": weights_fingerprint(model.path), "config": config_fingerprint(model.path)},
        "tasks": {task.name: _lock_task(task) for task in tasks},
        "engine": dict(engine.identity()),
        "seed": seed,
    }


def _lock_task(task: TaskPlan) -> dict[str, Any]:
    sampling = task.sampling
    return {
        "num_problems": len(task.problems),
        "rows": rows_hash(task.problems),
        "prompts": prompts_hash(task.prompts),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop_strings": list(sampling.stop),
        "stop_token_ids": list(sampling.stop_token_ids),
    }


def _about(model: Model, protocol: Protocol, options: EvalOptions) -> dict[str, Any]:
    return {
        "model": model.name,
        "commit": model.commit,
        "protocol": protocol.name,
        "strict_boxed": protocol.strict_boxed,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "hardware": hardware(),
    }


def _default_run_dir(model: Model, protocol: Protocol, lock: Mapping[str, Any]) -> Path:
    """Name the run after its lock, so that the same command resumes it and another one never meets it."""
    label = "".join(c if c.isalnum() or c in ".-_" else "-" for c in model.name.rsplit("/", 1)[-1]).strip("-.")
    return Path("runs") / f"{label or 'model'}-{protocol.name}-{digest(lock)[:8]}"
