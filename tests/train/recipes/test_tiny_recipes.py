"""The tiny recipes, whole: each teaches what a held-out test sees; rewards dealt out at random teach nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"


def tbench(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def average(model: str, run: Path) -> float:
    """Return avg@8 on the task `arithmetic`, none of whose expressions is ever in training."""
    (task,) = json.loads(tbench("eval", model, "--samples", "8", "--out", str(run), "--json"))["tasks"]
    assert task["task"] == "arithmetic"
    return float(task["avg"])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> float:
    return average("builtin:tiny", tmp_path_factory.mktemp("before") / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tbrm", "grpo", "ppo"])
def test_a_tiny_recipe_gains_fifteen_points_on_what_it_was_not_trained_on(
    name: str, before: float, tmp_path: Path
) -> None:
    tbench("train", str(RECIPES / f"tiny-{name}.toml"), f"output={tmp_path / 'run'}")
    after = average(str(tmp_path / "run" / "checkpoints" / "best"), tmp_path / "eval")
    assert after - before >= 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tbrm", "grpo", "ppo"])
def test_rewards_dealt_out_at_random_gain_nothing(name: str, before: float, tmp_path: Path) -> None:
    words = ["rewards.shuffle=true", "checkpoints.every=160"]
    tbench("train", str(RECIPES / f"tiny-{name}.toml"), f"output={tmp_path / 'run'}", *words)
    after = average(str(tmp_path / "run" / "checkpoints" / "step-000160"), tmp_path / "eval")
    assert after - before < 0.05
