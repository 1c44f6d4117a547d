"""Before anything is generated: everything that decides a score, settled, checked and hashed into the lock.

`prepare` reads the model's files, loads the problems, renders the prompts and settles the engine's device and dtype,
without loading the model.
"""

import datetime
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.engines import engine_class, engine_packages, make_engine
from tbrm_bench.engines.base import Engine, EngineConfig, installed_build
from tbrm_bench.engines.positions import EnginePerTask, position_limit, regime
from tbrm_bench.errors import UserError
from tbrm_bench.fingerprints import code_fingerprint, tokenizer_fingerprint
from tbrm_bench.grading.grader_names import changed_policy, options, stored_options
from tbrm_bench.models.door import open_model
from tbrm_bench.models.resolve import Model
from tbrm_bench.prompts.protocol import Protocol, load_protocol
from tbrm_bench.prompts.render import (
    check_ids,
    prompt_warnings,
    prompts_hash,
    render_prompts,
    shortened_caps,
    stop_token_ids,
)
from tbrm_bench.prompts.tokenizer import open_tokenizer
from tbrm_bench.provenance import config_fingerprint, digest, hardware, versions
from tbrm_bench.records import Problem, Sampling
from tbrm_bench.run.plan import EvalOptions, Plan, TaskPlan
from tbrm_bench.store.run_file import LOCK_VERSION, as_version_1, started_under
from tbrm_bench.tasks.problems import load_problems, rows_hash
from tbrm_bench.tasks.spec import open_tasks
from tbrm_bench.weights import weights_fingerprint


def prepare(options: EvalOptions) -> Plan:
    """Settle and check a run; raises UserError, MissingExtra or MissingPrerequisite before anything is generated."""
    _check_counts(options)
    installed_build(engine_class(options.engine).about)  # before rows and weights are fetched
    specs = open_tasks(options.tasks)
    protocol = load_protocol(options.protocol, tasks=[spec.name for spec in specs])
    problems = {spec.name: load_problems(spec, data_dir=options.data_dir) for spec in specs}
    model, check = open_model(options.model)
    loaded = open_tokenizer(model.path, trust_remote_code=options.settings.trust_remote_code)
    tokenizer = loaded.tokenizer
    stop_ids = stop_token_ids(tokenizer, model.path, protocol)
    limit = position_limit(model.config, options.engine)
    render = _TaskPlanner(protocol, tokenizer, stop_ids, model.context_length, limit, options)
    tasks = [render.plan(name, rows) for name, rows in problems.items()]
    for task in tasks:
        check_ids(task.prompts, tokenizer, model.config)
    engine = _make_engine(model, tasks, options)
    model_warnings = check.finish(engine=options.engine, trust_remote_code=options.settings.trust_remote_code)
    seed = protocol.seed if options.settings.seed is None else options.settings.seed
    code = code_fingerprint(model.path) if options.settings.trust_remote_code else None
    lock = _lock(model, tasks, engine, seed, tokenizer=tokenizer_fingerprint(tokenizer, model.path), code=code)
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
        notes=(
            *filter(None, (spec.why_unverified() for spec in specs)),
            *model_warnings,
            *loaded.warnings,
            *prompt_warnings(tokenizer, model.path, protocol, model.config),
        ),
    )


def _check_counts(options: EvalOptions) -> None:
    for flag, value in (
        ("--samples", options.samples),
        ("--max-tokens", options.max_tokens),
        ("--limit", options.limit),
    ):
        if value is not None and value < 1:
            raise UserError(f"{flag} is {value}, but at least 1 is needed")
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise UserError(
            f"--data {options.data_dir} is not a folder; give the folder with the tasks' JSONL or Parquet files"
        )


@dataclass(frozen=True, slots=True)
class _TaskPlanner:
    """What all tasks of a run share."""

    protocol: Protocol
    tokenizer: Any
    stop_ids: tuple[int, ...]
    context_length: int
    position_limit: int | None
    options: EvalOptions

    def plan(self, name: str, rows: list[Problem]) -> TaskPlan:
        """Render the prompts of one task and settle how it is sampled."""
        problems = rows[: self.options.limit]
        chosen = self.protocol.sampling(name)
        max_tokens = self.options.max_tokens or chosen.max_tokens
        prompts = render_prompts(problems, self.protocol, self.tokenizer)
        return TaskPlan(
            name=name,
            problems=problems,
            prompts=prompts,
            num_samples=self.options.samples or chosen.samples,
            sampling=Sampling(
                temperature=chosen.temperature,
                top_p=chosen.top_p,
                max_tokens=max_tokens,
                stop=self.protocol.stop_strings,
                stop_token_ids=self.stop_ids,
            ),
            caps=shortened_caps(prompts, max_tokens, self.context_length, task=name, protocol=self.protocol),
            positions=self._positions(rows, max_tokens),
        )

    def _positions(self, rows: list[Problem], max_tokens: int) -> str | None:
        """Name the regime of the whole task, whatever --limit takes of it."""
        if self.position_limit is None:
            return None
        prompts = render_prompts(rows, self.protocol, self.tokenizer)
        longest = max(len(prompt.token_ids) for prompt in prompts) + max_tokens
        return regime(self.position_limit, min(longest, self.context_length))


def _make_engine(model: Model, tasks: list[TaskPlan], options: EvalOptions) -> Engine:
    """Return one engine, or one for all tasks of a regime of positions where there are two of those."""
    limit = position_limit(model.config, options.engine)
    engines: dict[str | None, Engine] = {}
    for name in dict.fromkeys(task.positions for task in tasks):
        longest = max(task.longest for task in tasks if task.positions == name)
        # Beyond the limit also where --limit left out what reaches there.
        is_beyond = limit is not None and name == regime(limit, limit + 1)
        engines[name] = _one_engine(model, max(longest, limit + 1) if limit and is_beyond else longest, options)
    by_task = {task.name: engines[task.positions] for task in tasks}
    return EnginePerTask(by_task) if len(engines) > 1 else by_task[tasks[0].name]


def _one_engine(model: Model, max_model_len: int, options: EvalOptions) -> Engine:
    settings = options.settings
    config = EngineConfig(
        model_dir=str(model.path),
        max_model_len=max_model_len,
        dtype=settings.dtype,
        device=settings.device,
        tensor_parallel=settings.tensor_parallel,
        trust_remote_code=settings.trust_remote_code,
        max_num_seqs=settings.max_num_seqs,
    )
    return make_engine(options.engine, config)


def _lock(
    model: Model, tasks: list[TaskPlan], engine: Engine, seed: int, *, tokenizer: str, code: str | None
) -> dict[str, Any]:
    """Return what decides a score, and nothing else; the number of samples is not in it, so that k may grow.

    A key that a later version adds is only there where it differs from its default, so that older runs resume.
    """
    return {
        "version": LOCK_VERSION,
        "model": {
            "weights": weights_fingerprint(model.path),
            "config": config_fingerprint(model.path),
            "tokenizer": tokenizer,
            **({} if code is None else {"code": code}),
        },
        "tasks": {task.name: _lock_task(task) for task in tasks},
        "engine": dict(engine.identity()),
        "seed": seed,
    }


def _lock_task(task: TaskPlan) -> dict[str, Any]:
    sampling = task.sampling
    positions = {} if task.positions is None else {"positions": task.positions}
    return {
        "num_problems": len(task.problems),
        "rows": rows_hash(task.problems),
        "prompts": prompts_hash(task.prompts),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "shortened_caps": dict(task.caps),
        "stop_strings": list(sampling.stop),
        "stop_token_ids": list(sampling.stop_token_ids),
    } | positions


def _about(model: Model, protocol: Protocol, options: EvalOptions) -> dict[str, Any]:
    return {
        "model": model.name,
        "commit": model.commit,
        "protocol": protocol.name,
        "strict_boxed": protocol.strict_boxed,
        **({"policy": changed} if (changed := changed_policy(protocol.policy)) else {}),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(engine_packages()),
        "hardware": hardware(),
    }


def _default_run_dir(model: Model, protocol: Protocol, lock: Mapping[str, Any]) -> Path:
    """Name the run after its lock and grader, so that the same command resumes it and another one never meets it."""
    label = "".join(c if c.isalnum() or c in ".-_" else "-" for c in model.name.rsplit("/", 1)[-1]).strip("-.")
    asked = options(strict_boxed=protocol.strict_boxed, policy=protocol.policy)
    own = {**lock, "grader": "+".join(asked)} if asked else lock
    run_dir, older = (
        Path("runs") / f"{label or 'model'}-{protocol.name}-{digest(decides)[:8]}"
        for decides in (own, as_version_1(lock))
    )
    if run_dir.exists() or (started := started_under(older)) is None:
        return run_dir
    is_same = started.lock == as_version_1(lock) and stored_options(started.about) == asked
    return older if is_same else run_dir
