"""`tbench train` on RL recipes: mistakes are one line before torch is loaded; the command trains with vLLM."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tiny_models import TENSORS, copy_of_tiny, save

from tbrm_bench.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "train" / "recipes" / "tiny-tbrm.toml"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tbench: Cli) -> Cli:
    """Run `tbench train WORDS`."""
    return partial(tbench, "train")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.stepz=2"], ["'stepz'", "did you mean 'steps'?"]),
        (["rollout.prompts_per_step=many"], ["rollout.prompts_per_step", "'many'", "a whole number"]),
        (["kind=dpo"], ["kind: 'dpo'", "sft, rl"]),
        ([f"output={ROOT / 'train'}"], ["already holds files"]),
        ([f"output={TINY}"], ["is not a folder"]),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: list[str], cli: Cli) -> None:
    code, out, err = cli(TINY, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in said:
        assert part in err


def test_weights_that_are_not_the_class_s_are_refused_before_a_step(cli: Cli, tmp_path: Path) -> None:
    """Policy and reference would each draw the missing ones at random, and differ from the first step on."""
    from tbrm_train.policy.policy import load_model

    lost = "model.layers.1.mlp.down_proj.weight"
    folder = copy_of_tiny(tmp_path / "m")
    save(folder, {name: value for name, value in TENSORS.items() if name != lost})
    code, _, err = cli(TINY, f"model={folder}", f"output={tmp_path / 'run'}")
    assert code == 2
    assert f"1 missing ({lost})" in err
    assert err.count("\n") == 1
    with pytest.raises(UserError, match=f"no weights for {lost}"):
        load_model(folder, dtype="float32", gradient_checkpointing=False)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_command_trains_with_vllm_and_its_checkpoint_is_evaluated(world_size: int, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = [
        *("optimizer.steps=2", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "prompts.num_prompts=40"),
        *("prompts.validation=4", "checkpoints.every=2", "evaluation.tasks=['arithmetic']"),
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world_size), "-m", "tbrm_bench"]
    done = subprocess.run(
        [*launcher, "train", str(TINY), f"output={output}", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    last = output / "checkpoints" / "step-000002"
    assert done.stdout == f"{last}\n"
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert all(line["probe/max"] < 1e-4 for line in lines[1:])
    scores = json.loads((output / "eval" / "step-000002" / "results.json").read_text())
    assert scores["tasks"][0]["num_missing"] == 0
    command = [sys.executable, "-m", "tbrm_bench", "eval", str(last), "--out", str(tmp_path / "again"), "--json"]
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert again["tasks"][0]["avg"] == scores["tasks"][0]["avg"], "tbench eval agrees with the training"
