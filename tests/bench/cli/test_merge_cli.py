"""`tbench merge` as a user types it: what it prints where, what it exits with, what it leaves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forging import RANK_FILE, save_actor, tiny_state

from tbrm_bench.weights import weights_fingerprint

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `tbench merge` with a cache of the module's own."""
    cache = tmp_path_factory.mktemp("cache")

    def command(*arguments: object, name: str = "merge") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tbrm_bench", name, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TBENCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )

    return command


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run with two steps; the second has other weights."""
    for step in (10, 20):
        state = tiny_state()
        state["model.norm.weight"] = state["model.norm.weight"] + step
        save_actor(tmp_path / "run" / f"global_step_{step}" / "actor", state)
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("20")
    return tmp_path / "run"


def assert_error(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.splitlines()[-1] == line
    assert all(word in line for word in words), line
    assert not done.stdout


def test_a_step_of_a_run(run: Run, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_error(run(runs, out), 2, "10, 20", "latest is 20", "--step")
    assert not out.exists()
    done = run(runs, out, "--step", 20, "--dtype", "bfloat16", "--probe", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["format"], report["step"], report["verified"]) == ("fsdp", 20, True)
    assert report["fingerprint"] == weights_fingerprint(out)
    assert isinstance(report["probe"], str)
    assert done.stderr.splitlines()[-2:] == [str(out), f"next: tbench eval {out}"]
    checked = run(runs, out, "--check")
    assert (checked.returncode, checked.stdout[:5]) == (0, "equal")
    assert_error(run(runs, out, "--check", "--step", 10, "--json", "--dtype", "bfloat16"), 2, "--check")
    assert_error(run(out, runs, "--check"), 2, f"{out} has a", f"{runs} does not", "swapped", "CKPT OUT --check")


def test_check_exits_with_1_and_names_what_differs(run: Run, runs: Path, tmp_path: Path) -> None:
    assert run(runs, tmp_path / "out", "--step", 10).returncode == 0
    done = run(runs, tmp_path / "out", "--check", "--step", 20)
    assert done.returncode == 1
    assert "model.norm.weight has other values" in done.stdout
    assert done.stderr.startswith("error: ")


def test_all_steps_and_again_only_the_new_ones(run: Run, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    done = run("--all", runs, out)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["step-10", "step-20"]
    assert weights_fingerprint(out / "step-10") != weights_fingerprint(out / "step-20")
    shutil.copytree(runs / "global_step_20", runs / "global_step_30")
    again = run("--all", runs, out, "--json")
    assert [row["step"] for row in json.loads(again.stdout)] == [30]
    assert weights_fingerprint(out / "step-30") == weights_fingerprint(out / "step-20")
    assert_error(run("--all", runs, out, "--step", 10), 2, "--all", "--step")


def test_the_table_says_what_was_made(run: Run, runs: Path, tmp_path: Path) -> None:
    done = run(runs, tmp_path / "out", "--step", 10, "--max-shard-size", "100KB", "--workers", 1)
    assert done.returncode == 0, done.stderr
    rows = {line[:12].strip(): line[12:] for line in done.stdout.splitlines()}
    assert rows["format"] == "fsdp, world size 1, step 10"
    assert rows["fingerprint"] == weights_fingerprint(tmp_path / "out")
    assert rows["checked"].startswith("names and shapes")
    assert f"{len(list((tmp_path / 'out').glob('*.safetensors')))} files" in rows["tensors"]


def test_mistakes_are_one_line(run: Run, runs: Path, tmp_path: Path) -> None:
    actor, out = runs / "global_step_10" / "actor", tmp_path / "out"
    assert_error(run(actor, out, "--dtype", "int4"), 2, "int4", "bfloat16")
    assert_error(run(actor, out, "--max-shard-size", "big"), 2, "big")
    assert_error(run(actor, out, "--workers", 0), 2, "workers")
    assert_error(run(actor, out, "--drop", "model.nothing"), 2, "model.nothing")
    assert_error(run(tmp_path / "nowhere", out), 2, "nowhere")
    assert_error(run(actor, runs), 2, "already holds files")
    assert_error(run("--all", actor / "huggingface", out), 2, "run")
    state = tiny_state()
    state["model.norm.weight"][0] = float("nan")
    torch.save(state, actor / RANK_FILE)
    assert_error(run(actor, out), 1, "NaN", "model.norm.weight")
    shutil.rmtree(actor / "huggingface")
    assert_error(run(actor, out), 2, "--base")
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if ".draft-" in path.name]


def test_the_base_gives_what_lacks(run: Run, runs: Path, tmp_path: Path) -> None:
    actor = runs / "global_step_10" / "actor"
    shutil.rmtree(actor / "huggingface")
    done = run(actor, tmp_path / "out", "--base", "builtin:tiny")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_eval_takes_a_checkpoint_as_it_is(run: Run, runs: Path) -> None:
    """The plan of an evaluation names the weights: those of the checkpoint."""
    options = ("--engine", "hf", "--limit", 1, "--dry-run", "--json")
    locks = []
    for step in (10, 20):
        done = run(runs / f"global_step_{step}", *options, name="eval")
        assert done.returncode == 0, done.stderr
        locks.append(json.loads(done.stdout)["lock"]["model"]["weights"])
    assert locks[0] != locks[1]
    assert_error(run(runs, *options, name="eval"), 2, "10, 20")
