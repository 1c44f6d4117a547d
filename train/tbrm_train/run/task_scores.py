"""Scores checkpoints by the code of `tbench eval`, with the rollout engine, which has their weights already.

    runs/x/eval/step-000050/    an ordinary run directory: tbench show, report and compare take it

A run that was killed during an evaluation resumes from the stored samples. A score belongs to the weights that it was
measured on: if a checkpoint has other weights by now, as after a recomputed step, it is evaluated again.
"""

import functools
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tbrm_bench.disk import disk_errors
from tbrm_bench.engines.base import Engine
from tbrm_bench.errors import UserError
from tbrm_bench.records import Sample, SampleRequest
from tbrm_bench.run.pipeline import run
from tbrm_bench.run.plan import EvalOptions, Plan, Settings
from tbrm_bench.run.prepare import prepare
from tbrm_bench.run.results import is_complete
from tbrm_bench.store.run_dir import is_run
from tbrm_bench.store.run_file import read_run_file
from tbrm_bench.weights import weights_fingerprint
from tbrm_train.recipes.rl_recipe import RlRecipe


def plan_tasks(recipe: RlRecipe, model_dir: Path) -> Plan | None:
    """Return the plan to evaluate the model before training; None without tasks.

    Raises UserError, before anything is trained, if a task cannot be evaluated.
    """
    if not recipe.evaluation.tasks:
        return None
    return _plan(recipe, str(model_dir), Path(recipe.output) / "eval")


def longest_task(plan: Plan | None) -> int:
    """Return the longest prompt of the evaluation's tasks with its new tokens; 0 without tasks."""
    return max(task.longest for task in plan.tasks) if plan else 0


def check_positions(plan: Plan | None, positions: str) -> None:
    """Raise UserError if a task needs another range of positions than the rollout engine, which scores it."""
    for task in plan.tasks if plan else ():
        if task.positions != positions:
            raise UserError(
                f"evaluation.tasks: {task.name} needs positions {task.positions} tokens, the training's engine has "
                f"those {positions}; leave the task out and score the checkpoints with tbench eval"
            )


def is_scored(recipe: RlRecipe, checkpoint: Path) -> bool:
    """Return whether the weights of a checkpoint have been evaluated on all tasks; True without tasks.

    Raises UserError if the evaluation's own files are damaged.
    """
    run_dir = _run_dir(checkpoint)
    return not recipe.evaluation.tasks or (is_complete(run_dir) and not _is_of_others(run_dir, checkpoint))


def score_tasks(
    recipe: RlRecipe, checkpoint: Path, engine: Engine, warn: Callable[[str], None] = lambda warning: None
) -> dict[str, float]:
    """Return `eval/<task>` for every task, avg@k in [0, 1]; empty without tasks or if the checkpoint is scored.

    Scores of other weights than the checkpoint's are removed, with a warning.
    """
    run_dir = _run_dir(checkpoint)
    if is_scored(recipe, checkpoint):
        return {}
    if _is_of_others(run_dir, checkpoint):
        warn(f"{run_dir} has scores of other weights than those of {checkpoint}; it is evaluated again")
        with disk_errors(run_dir):
            # Renamed first: a half-removed folder must not look complete.
            trash = run_dir.with_name(f".{run_dir.name}")
            shutil.rmtree(trash, ignore_errors=True)
            run_dir.rename(trash)
            shutil.rmtree(trash)
    plan = replace(_plan(recipe, str(checkpoint), run_dir), engine=_Lent(engine))
    result = run(plan, lambda progress: None)
    return {f"eval/{score.task}": score.avg for score in result.tasks}


def _run_dir(checkpoint: Path) -> Path:
    return checkpoint.parents[1] / "eval" / checkpoint.name


def _is_of_others(run_dir: Path, checkpoint: Path) -> bool:
    """Return whether a run directory was started for other weights than the checkpoint has now."""
    if not is_run(run_dir):
        return False
    scored = read_run_file(run_dir).lock["model"]["weights"]
    stats = {file.name: file.stat() for file in checkpoint.iterdir() if file.is_file()}
    return bool(scored != _weights(checkpoint, tuple((name, s.st_size, s.st_mtime_ns) for name, s in stats.items())))


@functools.lru_cache(maxsize=64)
def _weights(checkpoint: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Return the fingerprint of the weights, computed once per process while the files do not change."""
    return weights_fingerprint(checkpoint)


def _plan(recipe: RlRecipe, model: str, run_dir: Path) -> Plan:
    options = EvalOptions(
        model=model,
        tasks=recipe.evaluation.tasks,
        protocol=recipe.evaluation.protocol or recipe.prompts.protocol,
        engine=recipe.rollout.engine,
        data_dir=Path(recipe.prompts.data_dir) if recipe.prompts.data_dir else None,
        out=run_dir,
        settings=Settings(dtype=recipe.deepspeed.dtype, grader_workers=recipe.rewards.workers),
    )
    return prepare(options)


class _Lent:
    """An engine that is loaded already and stays loaded."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def identity(self) -> Mapping[str, str | int]:
        return self.engine.identity()

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        return self.engine.generate(requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
