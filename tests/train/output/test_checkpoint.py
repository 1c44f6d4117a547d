"""Checkpoints: killed anywhere and started again, a training ends with the bytes of one that was never killed."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import RunFailed, UserError
from tbrm_train.output.checkpoint import (
    RECIPE,
    last_checkpoint,
    list_checkpoints,
    locked,
    open_output,
    prune,
    write_checkpoint,
)
from tbrm_train.output.metrics_log import keep_lines
from tbrm_train.recipes.rl_rules import load_rl_recipe, read_stored_recipe

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"
Runs = Any  # of conftest.py
# Where a training may die: sampling, between update and record, in the line it writes, in the state, between state and
# rename, in the rename's wake.
MOMENTS = {
    "in a rollout": ("tbrm_train.run.loop._roll_out", 3),
    "in an update": ("tbrm_train.learner.learner.Learner.learn", 2),
    "before a line of metrics": ("tbrm_train.output.metrics_log.MetricsLog.write", 3),
    "in a save": ("tbrm_train.learner.learner.Learner.save", 2),
    "before the model's files": ("tbrm_train.run.loop.write_model", 3),
    "before the flush": ("tbrm_train.output.checkpoint.settle", 1),
    "before old ones go": ("tbrm_train.run.loop.prune", 2),
}

# The heavy tests hold it with the threads of the shipped recipes: their sums too must come out the same each time.
THREADS = {"tiny-tbrm": 1, "tiny-ppo": 2}


def files(output: Path) -> dict[str, bytes]:
    """Return what must not depend on kills: metrics and the files of each checkpoint's model."""
    found = {"metrics": (output / "metrics.jsonl").read_bytes()}
    for path in sorted(output.glob("checkpoints/step-*/*")):
        if path.is_file():
            found[str(path.relative_to(output))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def straight(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What trainings that were never killed end with, by recipe."""

    @cache
    def train(recipe: str) -> dict[str, bytes]:
        output = tmp_path_factory.mktemp(recipe) / "run"
        done = runs.train(recipe, f"output={output}", f"deepspeed.num_threads={THREADS[recipe]}")
        assert done.codes == [0], done.err
        assert done.out.strip() == str(output / "checkpoints" / "step-000004")
        return files(output)

    return train


def test_a_training_killed_at_many_moments_ends_with_the_same_bytes(
    runs: Runs, straight: Callable[[str], dict[str, bytes]], tmp_path: Path
) -> None:
    """One training killed again and again, each time later, until nothing kills it."""
    words = f"output={tmp_path / 'run'}"
    killed = [runs.train("tiny-tbrm", words, kill=MOMENTS[moment]).codes for moment in ("in a rollout", "in a save")]
    assert killed == [[-9], [-9]]
    done = runs.train("tiny-tbrm", words)
    assert done.codes == [0], done.err
    assert "resuming from" in done.err
    assert files(tmp_path / "run") == straight("tiny-tbrm")
    again = runs.train("tiny-tbrm", words)
    assert (again.codes, again.out) == ([0], done.out)
    assert "is already trained to step 4" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tiny-tbrm", "tiny-ppo"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_it_is_killed(
    recipe: str, moment: str, runs: Runs, straight: Callable[[str], dict[str, bytes]], tmp_path: Path
) -> None:
    words = (f"output={tmp_path / 'run'}", f"deepspeed.num_threads={THREADS[recipe]}")
    assert runs.train(recipe, *words, kill=MOMENTS[moment]).codes == [-9]
    done = runs.train(recipe, *words)
    assert done.codes == [0], done.err
    assert files(tmp_path / "run") == straight(recipe)


@pytest.mark.slow
def test_a_moving_reference_and_vllm_go_on_as_they_were(runs: Runs, tmp_path: Path) -> None:
    words = ("rollout.engine=vllm", "algorithm.reference_reset_every=2", "deepspeed.zero_stage=3")
    for name, kill in (("straight", None), ("killed", ("tbrm_train.run.loop._roll_out", 4)), ("killed", None)):
        runs.train("tiny-tbrm", f"output={tmp_path / name}", *words, kill=kill)
    assert files(tmp_path / "killed") == files(tmp_path / "straight")


@pytest.mark.slow
def test_two_processes_killed_go_on_as_they_were(runs: Runs, tmp_path: Path) -> None:
    words = ("deepspeed.zero_stage=2",)
    save = "tbrm_train.learner.learner.Learner.save"
    for name, kill in (("straight", None), ("killed", (save, 3)), ("killed", None)):
        runs.train("tiny-tbrm", f"output={tmp_path / name}", *words, kill=kill, world_size=2)
    assert files(tmp_path / "killed") == files(tmp_path / "straight")


def test_a_full_disk_is_one_line_and_loses_nothing(runs: Runs, straight: Any, tmp_path: Path) -> None:
    """No file may grow beyond the size that the first checkpoint's model has: its state does not fit."""
    output = tmp_path / "run"
    done = runs.train("tiny-tbrm", f"output={output}", environment={"TEST_FILE_LIMIT": str(1 << 20)})
    assert done.codes == [1]
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"the checkpoint of step 1 cannot be written to {output}: a file of the state could not be written" in line
    assert line.endswith("run the same command to resume from step 0")
    assert not list((output / "checkpoints").iterdir())
    done = runs.train("tiny-tbrm", f"output={output}")
    assert done.codes == [0], done.err
    assert files(output) == straight("tiny-tbrm")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """The fault: no file may grow beyond 100 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(output: Path, step: int, score: float | None, size: int = 10) -> Path:
    """Write a checkpoint of `size` bytes."""
    return write_checkpoint(
        output,
        step,
        meta={"world_size": 1, "score": score},
        is_first=True,
        barrier=lambda: None,
        write_state=partial(put, name="x", size=size),
        write_model=partial(put, name="config.json", size=2),
    )


def put(folder: Path, *, name: str, size: int) -> None:
    """Write a file."""
    (folder / name).write_bytes(b"x" * size)


@pytest.mark.usefixtures("small_disk")
def test_a_checkpoint_that_does_not_fit_leaves_the_ones_before(tmp_path: Path) -> None:
    write(tmp_path, 1, None)
    with pytest.raises(RunFailed, match="resume from step 1"):
        write(tmp_path, 2, None, size=1 << 20)
    assert [item.step for item in list_checkpoints(tmp_path)] == [1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


def test_the_best_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    for step, score in enumerate([0.1, 0.7, 0.3, 0.7, None, 0.2], start=1):
        write(tmp_path, step, score)
        prune(tmp_path, keep_last=2)
    assert [item.step for item in list_checkpoints(tmp_path)] == [2, 5, 6]
    assert (tmp_path / "checkpoints" / "best").resolve().name == "step-000002"


def test_what_a_kill_left_half_written_is_not_a_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 1, None)
    (tmp_path / "checkpoints" / ".step-000002").mkdir()
    last = last_checkpoint(tmp_path)
    assert last is not None
    assert last.step == 1
    assert write(tmp_path, 2, None).is_dir()


@pytest.mark.parametrize("meta", ["", "{}", '{"step": "x"}', "[]"])
def test_a_damaged_checkpoint_is_named(meta: str, tmp_path: Path) -> None:
    (write(tmp_path, 1, None) / "meta.json").write_text(meta)
    with pytest.raises(RunFailed, match="step-000001 is not a complete checkpoint"):
        list_checkpoints(tmp_path)


def test_a_folder_of_another_recipe_is_refused_and_a_renamed_one_is_not(tmp_path: Path) -> None:
    output = f"output={tmp_path / 'run'}"
    assert open_output(load_rl_recipe(TINY, [output])) == []
    (tmp_path / "run" / "values.json").touch()
    assert open_output(load_rl_recipe(TINY, [output, "checkpoints.keep_last=9"])) == []
    with pytest.raises(UserError) as error:
        open_output(load_rl_recipe(TINY, [output, "optimizer.learning_rate=1", "seed=4"]))
    assert "was started by another recipe: seed: 4, not 1 (and 1 more keys)" in str(error.value)
    shutil.move(tmp_path / "run", tmp_path / "other")
    assert open_output(load_rl_recipe(TINY, [f"output={tmp_path / 'other'}"])) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="already holds files"):
        open_output(load_rl_recipe(TINY, [f"output={tmp_path / 'mine'}"]))


def test_a_start_that_was_refused_leaves_the_folder_to_the_corrected_command(tmp_path: Path) -> None:
    output = tmp_path / "run"
    open_output(load_rl_recipe(TINY, [f"output={output}", "rollout.max_tokens=9000"]))
    with locked(output), pytest.raises(UserError, match="is being trained in"):
        open_output(load_rl_recipe(TINY, [f"output={output}"]))  # it may be loading its model
    corrected = load_rl_recipe(TINY, [f"output={output}"])
    assert open_output(corrected) == []
    assert read_stored_recipe(output / RECIPE) == corrected


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="is being trained in"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_lines_of_later_steps_and_torn_ones_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 1 / (step + 1)}) + "\n" for step in range(6)]
    file.write_text("".join(lines[:5]) + lines[5][:7])
    keep_lines(file, before=4)
    assert file.read_text() == "".join(lines[:4])
    keep_lines(file, before=0)
    assert file.read_text() == ""
