"""What a run is going to do: the options of a command line, the plan of each task, the plan of the run.

`prepare` makes a Plan, `pipeline.run` carries it out, `tbench eval --dry-run` prints it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tbrm_bench.config import Count
from tbrm_bench.engines import DEFAULT_ENGINE
from tbrm_bench.engines.base import Device, DType, Engine
from tbrm_bench.grading.selftest import unearnable_golds
from tbrm_bench.models.resolve import Model
from tbrm_bench.prompts.protocol import Protocol
from tbrm_bench.records import Problem, Prompt, SampleKey, SampleRequest, Sampling
from tbrm_bench.seeds import sample_seed
from tbrm_bench.store.run_file import started_under
from tbrm_bench.tasks.problems import why_repeated


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--set key=value` may change: the engine's options, the run seed and the grader's processes."""

    device: Device = "auto"
    dtype: DType = "auto"
    tensor_parallel: Count = 1
    trust_remote_code: bool = False
    max_num_seqs: Count | None = None
    seed: int | None = None
    grader_workers: Count = 1


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """A command line, parsed. `samples` and `max_tokens` override the protocol; `limit` keeps the first rows."""

    model: str
    tasks: tuple[str, ...]
    protocol: str
    engine: str = DEFAULT_ENGINE
    samples: int | None = None
    max_tokens: int | None = None
    limit: int | None = None
    data_dir: Path | None = None
    out: Path | None = None
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a run: its problems, their prompts in the same order, and how to sample.

    `caps` holds the problems whose prompt leaves less room than the protocol's cap: problem id -> new tokens.
    `positions` names the regime of a model whose positions depend on the longest sequence (`engines.positions`).
    """

    name: str
    problems: list[Problem]
    prompts: list[Prompt]
    num_samples: int
    sampling: Sampling
    caps: Mapping[str, int]
    positions: str | None = None

    def requests(self, missing: Iterator[SampleKey], seed: int) -> Iterator[SampleRequest]:
        """Yield one request per missing sample."""
        prompts = {prompt.key.problem_id: prompt.token_ids for prompt in self.prompts}
        shortened = {name: replace(self.sampling, max_tokens=cap) for name, cap in self.caps.items()}
        for key in missing:
            sampling = shortened.get(key.problem_id, self.sampling)
            yield SampleRequest(key, prompts[key.problem_id], sampling, sample_seed(seed, key))

    @property
    def longest(self) -> int:
        """The longest prompt with its new tokens, in tokens."""
        cap = self.sampling.max_tokens
        return max(len(prompt.token_ids) + self.caps.get(prompt.key.problem_id, cap) for prompt in self.prompts)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is ready to start; `notes` are what `prepare` found that is allowed and probably not meant."""

    model: Model
    protocol: Protocol
    tasks: list[TaskPlan]
    engine: Engine
    seed: int
    lock: Mapping[str, Any]
    about: Mapping[str, Any]
    run_dir: Path
    grader_workers: int
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What is allowed and probably not meant."""
        shortened = [
            f"{task.name}: the prompts of {', '.join(task.caps)} leave less than {task.sampling.max_tokens} new tokens "
            f"in the model's context; theirs are capped at {min(task.caps.values())} or more"
            for task in self.tasks
            if task.caps
        ]
        return [
            *self._old_lock(),
            *self.notes,
            *shortened,
            *(
                f"{task.name} is greedy under protocol {self.protocol.name}; its {task.num_samples} samples are copies"
                for task in self.tasks
                if task.sampling.temperature == 0 and task.num_samples > 1
            ),
            *filter(None, (why_repeated(task.problems) for task in self.tasks)),
            *(warning for task in self.tasks for warning in _gold_warnings(task)),
        ]

    def _old_lock(self) -> list[str]:
        started = started_under(self.run_dir)
        if started is None or "version" in started.lock:
            return []
        return [
            f"{self.run_dir} was started under a lock of version 1, without the tokenizer and the model's own code; it "
            "resumes, but whether they have changed since then cannot be checked"
        ]

    @property
    def num_samples(self) -> int:
        """The number of samples of the complete run."""
        return sum(len(task.problems) * task.num_samples for task in self.tasks)

    @property
    def max_new_tokens(self) -> int:
        """The most tokens that the complete run can generate."""
        return sum(len(task.problems) * task.num_samples * task.sampling.max_tokens for task in self.tasks)


def _gold_warnings(task: TaskPlan) -> Iterator[str]:
    reasons = unearnable_golds(problem.gold for problem in task.problems)
    ids = [problem.key.problem_id for problem in task.problems if problem.gold in reasons]
    if ids:
        yield (
            f"{task.name}: no answer can earn the gold of {len(ids)} problems ({', '.join(ids[:5])}); the first: "
            f"{next(iter(reasons.values()))}; see tbench tasks check --task {task.name}"
        )
