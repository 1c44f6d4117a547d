"""Checkpoints: a Hugging Face folder that `tbench eval` takes, with everything to resume from in its `state`.

    runs/x/recipe.toml  metrics.jsonl  timings.jsonl
    runs/x/checkpoints/step-000050/config.json  model.safetensors  tokenizer.json ...  meta.json
                                  /state/       DeepSpeed's weights, optimiser and this process's generators
    runs/x/checkpoints/best       a link to the best one on validation

A checkpoint is written under another name (`.step-000050`), flushed to disk and renamed: a run that is killed at any
moment finds the last complete one. The meta file has the step, the number of processes and the validation score.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.disk import shown
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import FileLock, check_free, read_text, settle, write_files, write_text
from tbrm_bench.strict_json import parse_json
from tbrm_train.output.budget import Meter
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import read_stored_recipe, recipe_changes, recipe_toml

RECIPE, META, BEST, INPUTS, VALUES = "recipe.toml", "meta.json", "best", "inputs.json", "values.json"
LOCK = ".lock"
NAME = re.compile(r"step-(\d{6,})")
# The errors of torch's writer when the disk is full.
WRITER_ERRORS = ("PytorchStreamWriter", "unexpected pos", "file write failed")


@dataclass(frozen=True, slots=True)
class StepCheckpoint:
    """A complete checkpoint on disk. `score`: validation score, NaN if not measured; `spent`: state of its Meter."""

    path: Path
    step: int
    world_size: int
    score: float
    spent: dict[str, float]


def open_output(recipe: RlRecipe) -> list[StepCheckpoint]:
    """Create the output folder or open the one that this recipe started; return its checkpoints, oldest first.

    A start that failed before its first step does not claim the folder. Raises UserError if the folder belongs to
    something else or to another recipe.
    """
    output = Path(recipe.output)
    stored = output / RECIPE
    if not stored.is_file():
        check_free(output)
        write_files({stored: recipe_toml(recipe)}, make_folders=True)
        return []
    if {file.name for file in output.iterdir()} <= {RECIPE, LOCK}:
        with locked(output):
            write_text(stored, recipe_toml(recipe))
        return []
    # If INPUTS has fingerprints of what a recipe names, the names may change: the content is checked once it is loaded.
    changes = recipe_changes(recipe, read_stored_recipe(stored), by_content=(output / INPUTS).is_file())
    if changes:
        more = f" (and {len(changes) - 1} more keys)" if len(changes) > 1 else ""
        raise UserError(f"{output} was started by another recipe: {changes[0]}{more}; give another folder, output=DIR")
    return list_checkpoints(output)


def locked(output: Path) -> FileLock:
    """Lock the folder against a second training; the lock is released when the process ends, however it ends."""
    return FileLock(output / LOCK, f"{shown(output)} is being trained in by")


def list_checkpoints(output: Path) -> list[StepCheckpoint]:
    """Return the complete checkpoints of a run, oldest first."""
    folder = output / "checkpoints"
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted((_read(path) for path in found), key=lambda item: item.step)


def last_checkpoint(output: Path) -> StepCheckpoint | None:
    """Return the checkpoint with the highest step, None if there is none."""
    return max(list_checkpoints(output), key=lambda item: item.step, default=None)


def meter_of(recipe: RlRecipe, last: StepCheckpoint | None) -> Meter:
    """Return what the training had spent at a checkpoint that it resumes from; nothing without one."""
    return Meter(recipe.budget, **(last.spent if last else {}))


def is_finished(recipe: RlRecipe, last: StepCheckpoint) -> bool:
    """Return whether no training is left after a checkpoint: all steps are done or the budget is spent."""
    return last.step >= recipe.optimizer.steps or meter_of(recipe, last).is_spent


class Diverged(RunFailed):
    """A loss, gradient or weight is not finite; `facts` describe loss and gradients."""

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


def diverged(recipe: RlRecipe, what: str, facts: dict[str, Any] | None = None) -> Diverged:
    """Return the error of a training that is not finite any more; it names the last good checkpoint."""
    last = last_checkpoint(Path(recipe.output))
    good = f"the last good checkpoint is {last.path}" if last else "no checkpoint was written yet"
    rate = recipe.optimizer.learning_rate
    return Diverged(f"{what}; lower optimizer.learning_rate {rate} and start in a new folder ({good})", facts or {})


def check_world_size(checkpoint: StepCheckpoint, world_size: int) -> None:
    """Raise UserError if another number of processes wrote the checkpoint: its state is sharded over them."""
    if checkpoint.world_size != world_size:
        raise UserError(
            f"{checkpoint.path} was written by {checkpoint.world_size} processes, this training has {world_size}; "
            f"start it with torchrun --nproc-per-node {checkpoint.world_size} or give another folder, output=DIR"
        )


def write_checkpoint(
    output: Path,
    step: int,
    *,
    meta: dict[str, Any],
    is_first: bool,
    barrier: Callable[[], None],
    write_state: Callable[[Path], None],
    write_model: Callable[[Path], None],
) -> Path:
    """Write one checkpoint, called by all processes; return its folder once it is complete.

    `write_state` and `write_model` (which gathers weights) run in every process; rank 0 (`is_first`) writes the model's
    files. Raises RunFailed if the disk fails; earlier checkpoints stay.
    """
    path = output / "checkpoints" / f"step-{step:06d}"
    draft = path.with_name(f".{path.name}")
    with _disk_errors(output, step):
        if is_first:
            shutil.rmtree(draft, ignore_errors=True)
            (draft / "state").mkdir(parents=True)
        barrier()
        try:
            write_state(draft / "state")
            write_model(draft)
            if is_first:
                (draft / META).write_text(json.dumps({"step": step, **meta}, indent=2) + "\n", encoding="utf-8")
            barrier()
            if is_first:
                settle(draft)
                draft.rename(path)
        except BaseException:
            if is_first:
                shutil.rmtree(draft, ignore_errors=True)
            raise
    barrier()
    return path


def point_best(output: Path) -> StepCheckpoint | None:
    """Point `best` at the checkpoint with the best score and return it, None if none has a score; rank 0 only."""
    checkpoints = list_checkpoints(output)
    scored = [item for item in checkpoints if item.score == item.score]
    best = max(scored, key=lambda item: (item.score, -item.step), default=None)
    link = output / "checkpoints" / BEST
    if best is not None and not (link.is_symlink() and link.readlink().name == best.path.name):
        beside = link.with_name(f".{BEST}")
        beside.unlink(missing_ok=True)
        beside.symlink_to(best.path.name)
        beside.replace(link)
    return best


def prune(output: Path, *, keep_last: int) -> None:
    """Point `best` at the best checkpoint and remove all others but the last ones; rank 0 only."""
    best = point_best(output)
    for item in list_checkpoints(output)[:-keep_last]:
        if best is None or item.path != best.path:
            # Renamed first: a half-removed folder must not look complete.
            trash = item.path.with_name(f".{item.path.name}")
            item.path.rename(trash)
            shutil.rmtree(trash)


def _read(path: Path) -> StepCheckpoint:
    try:
        meta = parse_json(read_text(path / META), place=META, fix="remove it")
        score = float("nan") if meta["score"] is None else float(meta["score"])
        spent = {name: float(value) for name, value in meta.get("spent", {}).items()}
        return StepCheckpoint(path, int(meta["step"]), int(meta["world_size"]), score, spent)
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFailed(f"{path} is not a complete checkpoint ({type(error).__name__} in {META}); remove it") from None


@contextlib.contextmanager
def _disk_errors(output: Path, step: int) -> Iterator[None]:
    """Turn the error of a full disk, from any of the writers, into one line."""
    try:
        yield
    except Exception as error:
        # safetensors raises its own error, tokenizers a bare Exception, torch a RuntimeError.
        text = " ".join(str(error).split())
        of_writer = type(error).__name__ == "SafetensorError" or type(error) is Exception
        of_torch = any(words in text for words in WRITER_ERRORS)
        if not (isinstance(error, OSError) or of_writer or of_torch):
            raise
        last = max((item.step for item in list_checkpoints(output)), default=0)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else text[:150]
        # Torch's own message is about positions in its buffers.
        reason = "a file of the state could not be written to its end, as on a full disk" if of_torch else reason
        raise RunFailed(
            f"the checkpoint of step {step} cannot be written to {output}: {reason}; free some space and run the same "
            f"command to resume from step {last}"
        ) from None
