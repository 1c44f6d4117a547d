"""Checkpoints scored by `tbench eval`'s own code, with the rollout engine that holds their weights already.

    runs/x/eval/step-000050/    a run directory like any other: tbench show, report and compare take it

A run that was killed while it evaluated goes on from the samples that are stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tbrm_bench.engines.base import Engine
from tbrm_bench.errors import UserError
from tbrm_bench.pipeline import run
from tbrm_bench.plan import EvalOptions, Plan, Settings
from tbrm_bench.prepare import prepare
from tbrm_bench.records import Sample, SampleRequest
from tbrm_bench.results import is_complete
from tbrm_train.rl_recipe import RlRecipe


def longest_task(recipe: RlRecipe) -> int:
    """Return the longest prompt of the evaluation's tasks with its new tokens; 0 without tasks.

    Raises UserError, before anything is trained, if a task cannot be evaluated.
    """
    if not recipe.evaluation.tasks:
        return 0
    return max(task.longest for task in _plan(recipe, recipe.model, Path(recipe.output) / "eval").tasks)


def check_positions(recipe: RlRecipe, positions: str) -> None:
    """Raise UserError if a task's regime of positions is not the one of the rollout engine, which scores it."""
    if not recipe.evaluation.tasks:
        return
    for task in _plan(recipe, recipe.model, Path(recipe.output) / "eval").tasks:
        if task.positions != positions:
            raise UserError(
                f"evaluation.tasks: {task.name} needs positions {task.positions} tokens, the training's engine has "
                f"those {positions}; leave the task out and score the checkpoints with tbench eval"
            )


def is_scored(recipe: RlRecipe, checkpoint: Path) -> bool:
    """Return whether a checkpoint of a run folder has been evaluated on all tasks, or has none to be evaluated on."""
    return not recipe.evaluation.tasks or is_complete(checkpoint.parents[1] / "eval" / checkpoint.name)


def score_tasks(recipe: RlRecipe, checkpoint: Path, engine: Engine) -> dict[str, float]:
    """Return `eval/<task>` for every task, avg@k in [0, 1]; nothing without tasks, or where it is done already."""
    run_dir = Path(recipe.output) / "eval" / checkpoint.name
    if not recipe.evaluation.tasks or is_complete(run_dir):
        return {}
    plan = replace(_plan(recipe, str(checkpoint), run_dir), engine=_Lent(engine))
    result = run(plan, lambda progress: None)
    return {f"eval/{score.task}": score.avg for score in result.tasks}


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
    """An engine that is loaded already and stays so."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def identity(self) -> Mapping[str, str | int]:
        return self.engine.identity()

    def generate(self, requests: Iterable[SampleRequest]) -> Iterator[list[Sample]]:
        return self.engine.generate(requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
