"""Loggers: what is not installed is reported before anything heavy is loaded; what is written is what was given."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tbrm_bench.report.loggers import open_loggers

RECIPE = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"


@pytest.mark.parametrize("package", ["wandb", "trackio", "tensorboard"])
def test_a_missing_package_is_one_line_before_torch_is_loaded(package: str, tmp_path: Path) -> None:
    word = "logging.tensorboard=true" if package == "tensorboard" else f"logging.{package}_project=mine"
    code = f"""
import sys
sys.modules[{package!r}] = None
sys.argv = ["tbench", "train", {str(RECIPE)!r}, {word!r}, {f"output={tmp_path / 'run'}"!r}]
from tbrm_bench.cli.app import main
try: main()
except SystemExit as done: print(done.code.real, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"], done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {package} is not installed; run: pip install ")
    assert "[loggers]" in line


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_tracker_gets_every_step_and_is_finished(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    module = SimpleNamespace(
        init=lambda **given: calls.append(given),
        log=lambda values, step: calls.append((step, values)),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, package, module)
    (logger,) = open_loggers({package: "mine"}, tmp_path / "run-a", {"seed": 7})
    logger.log(3, {"reward": 0.5})
    logger.close()
    assert calls == [{"project": "mine", "name": "run-a", "config": {"seed": 7}}, (3, {"reward": 0.5}), "finished"]
