"""Checkpoints: a Hugging Face folder that `tbench eval` takes, with everything to go on from in its `state`.

    runs/x/recipe.toml  metrics.jsonl  timings.jsonl
    runs/x/checkpoints/step-000050/config.json  model.safetensors  tokenizer.json ...  meta.json
                                  /state/       DeepSpeed's weights, optimiser and this process's generators
    runs/x/checkpoints/best       a link to the one that did best on validation

A checkpoint is written beside (`.step-000050`), flushed to the disk and renamed: killed at any moment, a run finds the
last whole one. The meta file names the step, the number of processes and the validation score.
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
from tbrm_train.output.budget import Meter
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import read_stored_recipe, recipe_changes, recipe_toml

RECIPE, META, BEST, INPUTS, VALUES = "recipe.toml", "meta.json", "best", "inputs.json", "values.json"
LOCK = ".lock"
NAME = re.compile(r"step-(\d{6,})")
# What torch's writer says where the system would say that the disk is full.
WRITER_ERRORS = ("PytorchStreamWriter", "unexpected pos", "file write failed")


@dataclass(frozen=True, slots=True)
class StepCheckpoint:
    """A whole checkpoint on disk. `score` is its validation score, NaN if not measured; `spent` is a Meter's state."""

    path: Path
    step: int
    world_size: int
    score: float
    spent: dict[str, float]


def open_output(recipe: RlRecipe) -> list[StepCheckpoint]:
    """Make the output folder or join the one that this recipe has started; return its checkpoints, oldest first.

    A start that was refused before its first step leaves the folder to the next recipe. Raises UserError if the folder
    belongs to something else or to another recipe.
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
    # Where the content of what a recipe names is known, its names may change: it is checked when it has been read.
    changes = recipe_changes(recipe, read_stored_recipe(stored), by_content=(output / INPUTS).is_file())
    if changes:
        more = f" (and {len(changes) - 1} more keys)" if len(changes) > 1 else ""
        raise UserError(f"{output} was started by another recipe: {changes[0]}{more}; give another folder, output=DIR")
    return list_checkpoints(output)


def locked(output: Path) -> FileLock:
    """Keep a second training out of the folder; the lock ends with the process, however it ends."""
    return FileLock(output / LOCK, f"{shown(output)} is being trained in by")


def list_checkpoints(output: Path) -> list[StepCheckpoint]:
    """Return the whole checkpoints of a run, oldest first."""
    folder = output / "checkpoints"
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted((_read(path) for path in found), key=lambda item: item.step)


def last_checkpoint(output: Path) -> StepCheckpoint | None:
    """Return the checkpoint with the highest step, None if there is none."""
    return max(list_checkpoints(output), key=lambda item: item.step, default=None)


def meter_of(recipe: RlRecipe, last: StepCheckpoint | None) -> Meter:
    """Return what the training has spent when it goes on from a checkpoint; nothing without one."""
    return Meter(recipe.budget, **(last.spent if last else {}))


def is_finished(recipe: RlRecipe, last: StepCheckpoint) -> bool:
    """Return whether nothing is left to train after a checkpoint: all steps are done or the budget is spent."""
    return last.step >= recipe.optimizer.steps or meter_of(recipe, last).is_spent


class Diverged(RunFailed):
    """Numbers of a training are not finite; `facts` are what is known of the loss and the gradients."""

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


def diverged(recipe: RlRecipe, what: str, facts: dict[str, Any] | None = None) -> Diverged:
    """Return the error of a training whose numbers are not finite; it names the last good checkpoint."""
    last = last_checkpoint(Path(recipe.output))
    good = f"the last good checkpoint is {last.path}" if last else "no checkpoint was written yet"
    rate = recipe.optimizer.learning_rate
    return Diverged(f"{what}; lower optimizer.learning_rate {rate} and start in a new folder ({good})", facts or {})


def check_world_size(checkpoint: StepCheckpoint, world_size: int) -> None:
    """Raise UserError if another number of processes wrote the checkpoint: its state is divided among them."""
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
    """Write one checkpoint, all processes together; return its folder once it is whole.

    `write_state` runs in every process, `write_model` too (it gathers weights), files of the model are rank 0's
    (`is_first`). Raises RunFailed if the disk refuses; the checkpoints before stay.
    """
    path = output / "checkpoints" / f"step-{step:06d}"
    draft = path.with_name(f".{path.name}")
    with _told(output, step):
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
    """Point `best` at the checkpoint with the best score and return it, None if none has a score; rank 0 alone."""
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
    """Point `best` at the best score and remove all but the last ones and that one; rank 0 alone."""
    best = point_best(output)
    for item in list_checkpoints(output)[:-keep_last]:
        if best is None or item.path != best.path:
            # Renamed first: a half-removed folder must not look whole.
            trash = item.path.with_name(f".{item.path.name}")
            item.path.rename(trash)
            shutil.rmtree(trash)


def _read(path: Path) -> StepCheckpoint:
    try:
        meta = json.loads(read_text(path / META))
        score = float("nan") if meta["score"] is None else float(meta["score"])
        spent = {name: float(value) for name, value in meta.get("spent", {}).items()}
        return StepCheckpoint(path, int(meta["step"]), int(meta["world_size"]), score, spent)
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFailed(f"{path} is no whole checkpoint ({type(error).__name__} in {META}); remove it") from None


@contextlib.contextmanager
def _told(output: Path, step: int) -> Iterator[None]:
    """Turn what a full disk says, by whichever writer, into one line."""
    try:
        yield
    except Exception as error:
        # safetensors has an error of its own, tokenizers a bare Exception, torch a RuntimeError.
        text = " ".join(str(error).split())
        of_writer = type(error).__name__ == "SafetensorError" or type(error) is Exception
        of_torch = any(words in text for words in WRITER_ERRORS)
        if not (isinstance(error, OSError) or of_writer or of_torch):
            raise
        last = max((item.step for item in list_checkpoints(output)), default=0)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else text[:150]
        # Its words are of positions in its own buffers.
        reason = "a file of the state could not be written to its end, as on a full disk" if of_torch else reason
        raise RunFailed(
            f"the checkpoint of step {step} cannot be written to {output}: {reason}; free some space and give the same "
            f"command again: it goes on from step {last}"
        ) from None
