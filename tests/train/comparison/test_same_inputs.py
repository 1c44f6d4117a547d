"""All arms and seeds of a comparison are made of the same inputs, also those that were finished long before."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tbrm_bench.cli.app import main
from tbrm_bench.resources import builtin_model_dir
from tbrm_train.comparison import runs as comparison_runs
from tbrm_train.comparison.runs import Report
from tbrm_train.output.checkpoint import INPUTS

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"
TOY = (
    *("rollout.engine=hf", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "rollout.max_tokens=30"),
    *("prompts.num_prompts=24", "prompts.validation=4", "evaluation.every=1", "evaluation.samples=1"),
    *("checkpoints.every=1", "optimizer.warmup_steps=0", "optimizer.schedule=constant", "deepspeed.num_threads=1"),
    "optimizer.steps=1",
)
Runs = Any  # of conftest.py


class Comparison:
    """`tbench train compare` in this process, its trainings as forks of one that has loaded everything."""

    def __init__(self, runs: Runs, folder: Path, patch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.runs, self.patch, self.capsys = runs, patch, capsys
        self.model, self.out = folder / "model", folder / "out"
        self.launched: list[str] = []
        shutil.copytree(builtin_model_dir("tiny"), self.model)

    def launch(self, words: Sequence[str], log: Path, report: Report, *, num_processes: int = 1) -> int:
        """Train in a fork."""
        self.launched.append(f"{log.parent.name}/{log.stem}")
        done = self.runs.tbench_train(words)
        log.write_text(done.err)
        return int(done.codes[0])

    def __call__(self, *words: str) -> tuple[int, str]:
        """Run the command with these words; return exit code and stderr."""
        own = (str(TINY), *TOY, f"model={self.model}", "--out", str(self.out))
        self.patch.setattr(sys, "argv", ["tbench", "train", "compare", *own, *words])
        self.launched = []
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), self.capsys.readouterr().err


@pytest.fixture
def comparison(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Comparison:
    found = Comparison(runs, tmp_path, monkeypatch, capsys)
    monkeypatch.setattr(comparison_runs, "launch_process", found.launch)
    return found


def everything(output: Path) -> dict[str, bytes]:
    """Return all files of a folder but its lock."""
    found = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith(".lock")}


def move_weights(model: Path) -> None:
    """Change the weights a little, under the same names."""
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def test_seeds_and_arms_are_not_added_to_trainings_of_another_model(comparison: Comparison) -> None:
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 0, err
    whole = (comparison.model / "model.safetensors").read_bytes()
    move_weights(comparison.model)
    before = everything(comparison.out)
    for words in (
        ["tbrm,grpo", "--seeds", "2"],
        ["tbrm,grpo,reinforce", "--seeds", "1"],
        ["tbrm,grpo", "--seeds", "1"],
    ):
        code, err = comparison("--arms", *words)
        assert code == 2, err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "one has changed since grpo seed 1 was trained: model.weights is " in line
        assert line.endswith("restore it, or give another folder, --out DIR")
        assert comparison.launched == []
        assert everything(comparison.out) == before
    # The same bytes, elsewhere.
    (comparison.model / "model.safetensors").write_bytes(whole)
    comparison.model = comparison.model.rename(comparison.model.with_name("moved"))
    code, err = comparison("--arms", "tbrm,grpo,reinforce", "--seeds", "1")
    assert code == 0, err
    assert comparison.launched == ["reinforce/seed-1"]


def test_a_model_that_changes_between_two_trainings_stops_the_comparison(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: another process writes to the model's folder after the first training."""

    def launch(words: Sequence[str], log: Path, report: Report, *, num_processes: int = 1) -> int:
        code = comparison.launch(words, log, report)
        move_weights(comparison.model)
        return code

    monkeypatch.setattr(comparison_runs, "launch_process", launch)
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 2, err
    assert "since tbrm seed 1 was trained: model.weights is " in err
    assert comparison.launched == ["tbrm/seed-1"]
    assert not (comparison.out / "comparison.json").exists()


def test_trainings_of_two_models_are_not_ranked_and_unknown_ones_are_told(comparison: Comparison) -> None:
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 0, err
    file = comparison.out / "runs" / "grpo" / "seed-1" / INPUTS
    stored = json.loads(file.read_text())
    stored["facts"]["prompts"]["train"]["golds"] = "0" * 64
    file.write_text(json.dumps(stored))
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 2
    assert "tbrm seed 1 and grpo seed 1 were trained on different inputs: prompts.train.golds is " in err
    file.unlink()
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 0, err
    assert "grpo seed 1: trained before inputs were stored" in err
    # What is finished can be reported when the model is gone.
    shutil.rmtree(comparison.model)
    code, err = comparison("--arms", "tbrm,grpo", "--seeds", "1")
    assert code == 0, err
    assert "the inputs are not checked against those of tbrm seed 1: no folder " in err
