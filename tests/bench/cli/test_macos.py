"""What a laptop does works on a Mac: `tests/support/macos` takes away what only Linux has, from our workers too."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forging import save_actor
from hub_runs import make_run

from tbrm_bench.errors import ExitCode

MAC = Path(__file__).resolve().parents[2] / "support" / "macos"
BOARD = 'title = "Toy"\nnotes = ""\ntasks = ["aime24"]\nagree = []\ngrader = "tbrm-"\n'
# One process for all of them: what is imported once stays.
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from tbrm_bench.cli.app import app
for words in json.load(sys.stdin):
    done = CliRunner().invoke(app, words)
    print(json.dumps([words, done.exit_code, done.output, repr(done.exception)]))
"""


def on_a_mac(*words: str, given: str, folder: Path) -> list[Any]:
    """Run Python there with `given` on its stdin; return the JSON of its lines."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(MAC), *filter(None, sys.path))),
        "TBENCH_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, *words], input=given, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_a_run_records_of_its_machine(tmp_path: Path) -> None:
    code = "import json, sys, tbrm_bench.provenance as p; print(json.dumps([sys.platform, p.hardware()]))"
    ((system, machine),) = on_a_mac("-c", code, given="", folder=tmp_path)
    assert (system, machine["cores"], bool(machine["cpu"])) == ("darwin", os.cpu_count(), True)


def test_every_command_of_a_laptop_runs(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for seed, folder in enumerate((run, other)):
        make_run(folder, tasks=("aime24",), num_problems=30, seed=seed)
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "toy.toml").write_text(BOARD)
    save_actor(tmp_path / "actor")
    words = [
        ["grade", str(run)],
        ["show", str(run)],
        ["compare", str(run), str(other)],
        ["board", "add", str(run), "--board", "toy"],
        ["board", "show", "--board", "toy"],
        ["push", str(run), "owner/name", "--dry-run"],
        ["tasks", "check", "--task", "arithmetic"],
        ["merge", "actor", "merged"],
    ]
    for command, code, output, error in on_a_mac("-c", COMMANDS, given=json.dumps(words), folder=tmp_path):
        assert code == ExitCode.DONE, (command, output, error)
    assert (tmp_path / "merged" / "model.safetensors").is_file()


@pytest.mark.parametrize(("answer", "is_correct"), [(r"\sqrt{12}", True), (r"\int_0^1 x\,dx", False)])
def test_a_worker_without_a_limit_of_memory_reaches_its_verdict(answer: str, is_correct: bool, tmp_path: Path) -> None:
    line = json.dumps({"gold": r"2\sqrt{3}", "prediction": answer})
    (reply,) = on_a_mac("-m", "tbrm_bench", "grade", "--jsonl", given=line, folder=tmp_path)
    assert (reply["correct"], reply["status"]) == (is_correct, "correct" if is_correct else "wrong")
