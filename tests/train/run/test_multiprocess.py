"""One training, divided otherwise over processes, ZeRO stages and micro-batches: the same but for rounding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

STEPS = ("optimizer.steps=2", "checkpoints.every=2", "evaluation.every=2", "optimizer.learning_rate=1e-4")
Runs = Any  # of conftest.py


def result(output: Path) -> tuple[list[Mapping[str, float]], Mapping[str, Any]]:
    """Return metrics and weights of a training."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return lines, load_file(output / "checkpoints" / "step-000002" / "model.safetensors")


def assert_same(ours: Path, theirs: Path) -> None:
    """Compare every metric and every weight of two trainings."""
    (mine, my_weights), (other, their_weights) = result(ours), result(theirs)
    assert len(mine) == len(other) == 3
    for one, two in zip(mine, other, strict=True):
        assert set(one) == set(two)
        for name in set(one) - {"probe/mean", "probe/max"}:
            expected = None if two[name] is None else pytest.approx(two[name], rel=2e-4, abs=2e-5)
            assert one[name] == expected, name
    assert any(line.get("grad_norm", 0) > 0 for line in mine), "there was an update"
    assert set(my_weights) == set(their_weights)
    # Adam's first step divides each gradient by itself, so that rounding turns a sign where a gradient is nearly 0.
    apart = torch.cat([(weight - their_weights[name]).abs().flatten() for name, weight in my_weights.items()])
    assert float(apart.max()) < 5e-4
    assert float((apart > 1e-5).float().mean()) < 0.01


@pytest.fixture(scope="module")
def reference(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One process, no sharding, one micro-batch: what all others are held against, by recipe."""
    found = {}
    for recipe in ("tiny-tbrm", "tiny-ppo"):
        found[recipe] = tmp_path_factory.mktemp(recipe) / "run"
        done = runs.train(recipe, f"output={found[recipe]}", *STEPS, "deepspeed.zero_stage=0")
        assert done.codes == [0], done.err
    return found


CASES = [
    ("tiny-tbrm", 1, ("deepspeed.zero_stage=1", "deepspeed.micro_batch_tokens=1")),
    ("tiny-tbrm", 2, ("deepspeed.zero_stage=2", "deepspeed.micro_batch_tokens=200")),
    ("tiny-ppo", 2, ("deepspeed.zero_stage=3", "deepspeed.micro_batch_tokens=200")),
]
ALL = [
    (recipe, world_size, (f"deepspeed.zero_stage={stage}", f"deepspeed.micro_batch_tokens={tokens}", *extra))
    for recipe in ("tiny-tbrm", "tiny-ppo")
    for world_size in (1, 2)
    for stage in (0, 1, 2, 3)
    for tokens in (1, 200)
    for extra in ((), ("deepspeed.gradient_checkpointing=true",))
]


def check(
    runs: Runs, reference: dict[str, Path], recipe: str, world_size: int, words: tuple[str, ...], output: Path
) -> None:
    """Train otherwise and compare."""
    done = runs.train(recipe, f"output={output}", *STEPS, *words, world_size=world_size)
    assert done.codes == [0] * world_size, done.err
    assert_same(output, reference[recipe])


@pytest.mark.parametrize(("recipe", "world_size", "words"), CASES)
def test_a_training_divided_otherwise_is_the_same(
    runs: Runs, reference: dict[str, Path], recipe: str, world_size: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    check(runs, reference, recipe, world_size, words, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "world_size", "words"), ALL)
def test_every_division(
    runs: Runs, reference: dict[str, Path], recipe: str, world_size: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    check(runs, reference, recipe, world_size, words, tmp_path / "run")


def test_a_checkpoint_of_another_number_of_processes_is_refused(runs: Runs, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = (f"output={output}", "optimizer.steps=2")
    assert runs.train("tiny-tbrm", *words, kill=("tbrm_train.run.loop._roll_out", 2)).codes == [-9]
    done = runs.train("tiny-tbrm", *words, world_size=2)
    assert done.codes == [2, 2]
    (line,) = {line for line in done.err.splitlines() if line.startswith("error: ")}
    assert "step-000001 was written by 1 processes, this training has 2; " in line
    assert line.endswith("start it with torchrun --nproc-per-node 1 or give another folder, output=DIR")
