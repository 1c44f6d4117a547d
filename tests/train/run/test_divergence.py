"""Numbers that are not finite: no step is taken, the batch is stored, and earlier checkpoints stay intact."""

import json
from pathlib import Path
from typing import Any

import pytest

Runs = Any  # of conftest.py
COMMON = ("evaluation.every=9", "optimizer.steps=3")


def error_of(done: Any) -> str:
    """Return the one line that every process of a training ended with."""
    assert "Traceback" not in done.err
    (line,) = {line for line in done.err.splitlines() if line.startswith("error: ")}
    return str(line)


def files(output: Path) -> dict[str, bytes]:
    """Return metrics and models of a training."""
    names = ("metrics.jsonl", "model.safetensors")
    return {str(path.relative_to(output)): path.read_bytes() for name in names for path in sorted(output.rglob(name))}


# part, kind, stage, dtype, processes: each stage, both parts, both kinds. ZeRO-3 adds the norm up in float64, where a
# large gradient has one and is clipped as it should be.
CASES = [
    ("policy", "large", 0, "float32", 1),
    ("critic", "large", 1, "bfloat16", 1),
    ("policy", "nan", 2, "float32", 2),
    ("critic", "nan", 3, "bfloat16", 1),
]
ALL = [
    (part, kind, stage, dtype, world_size)
    for part in ("policy", "critic")
    for kind in ("nan", "large")
    for stage in (0, 1, 2, 3)
    for dtype in ("float32", "bfloat16")
    for world_size in (1, 2)
    if (stage > 0 or dtype == "float32") and (stage < 3 or kind == "nan")
]


def check(runs: Runs, output: Path, part: str, kind: str, stage: int, dtype: str, world_size: int) -> None:
    """Spoil the second of three steps in the last process alone, and see what is left of the training."""
    words = [f"output={output}", f"deepspeed.zero_stage={stage}", f"deepspeed.dtype={dtype}", *COMMON]
    spoilt = {"TEST_GRADIENT": f"{part} {kind} 2 {world_size - 1}"}
    recipe = "tiny-ppo" if part == "critic" else "tiny-tbrm"
    words.append("rollout.probe_tolerance=0.2")
    done = runs.train(recipe, *words, world_size=world_size, environment=spoilt)
    assert done.codes == [1] * world_size, done.err
    line = error_of(done)
    assert f"the last good checkpoint is {output / 'checkpoints' / 'step-000001'})" in line
    assert line.endswith(f"; the batch is in {output / 'diverged-000002.json'}")
    assert part in line
    assert "in step 2" in line
    assert [path.name for path in sorted((output / "checkpoints").iterdir())] == ["step-000001"]
    steps = [json.loads(text)["step"] for text in (output / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 1
    facts = json.loads((output / "diverged-000002.json").read_text())
    assert facts["step"] == 2
    assert len(facts["samples"]) == 16
    assert {"id", "seed", "reward", "status", "tokens"} <= set(facts["samples"][0])
    assert facts["not_finite"][part] if kind == "nan" else not float(facts["norms"][part]) < float("inf")


@pytest.mark.parametrize(("part", "kind", "stage", "dtype", "world_size"), CASES)
def test_a_gradient_that_is_not_finite_stops_before_the_step(
    part: str, kind: str, stage: int, dtype: str, world_size: int, runs: Runs, tmp_path: Path
) -> None:
    check(runs, tmp_path / "run", part, kind, stage, dtype, world_size)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "kind", "stage", "dtype", "world_size"), sorted(set(ALL) - set(CASES)))
def test_in_every_stage(
    part: str, kind: str, stage: int, dtype: str, world_size: int, runs: Runs, tmp_path: Path
) -> None:
    check(runs, tmp_path / "run", part, kind, stage, dtype, world_size)


def test_a_training_that_was_stopped_by_one_goes_on_as_it_was(runs: Runs, tmp_path: Path) -> None:
    for name, environment in (("straight", {}), ("run", {"TEST_GRADIENT": "policy nan 3 0"}), ("run", {})):
        done = runs.train("tiny-tbrm", f"output={tmp_path / name}", *COMMON, environment=environment)
        assert done.codes == [int(bool(environment))], done.err
    assert files(tmp_path / "run") == files(tmp_path / "straight")


def test_weights_that_no_probe_has_seen_are_no_good_checkpoint(runs: Runs, tmp_path: Path) -> None:
    """The fault: a weight of the critic becomes NaN, which the policy's log-probabilities do not show."""
    output = tmp_path / "run"
    spoilt = {"TEST_GRADIENT": "critic weights 2 0"}
    done = runs.train("tiny-ppo", f"output={output}", "deepspeed.zero_stage=0", *COMMON, environment=spoilt)
    assert done.codes == [1], done.err
    assert "of the critic is not finite after step 2" in error_of(done)
    assert [path.name for path in sorted((output / "checkpoints").iterdir())] == ["step-000001"]
