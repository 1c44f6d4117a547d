"""`tbench eval`: what a mistake looks like, what a dry run says, and the whole command at toy size."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tbrm_bench.resources import builtin_model_dir

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tbench: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run `tbench WORDS` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tbench


def write_rows(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    (folder / "aime25.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def row(number: int, answer: str = "7") -> str:
    return json.dumps({"id": f"aime25-{number}", "problem": f"Invented problem {number}?", "answer": answer})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--task", "aime42"], 2, ["aime42", "aime24"]),
        (["--suite", "tbrm7"], 2, ["tbrm7", "tbrm6"]),
        (["--protocol", "greedi"], 2, ["greedi", "greedy"]),
        (["--samples", "0"], 2, ["--samples is 0", "at least 1"]),
        (["--max-tokens", "-3"], 2, ["--max-tokens is -3"]),
        (["--limit", "0"], 2, ["--limit is 0"]),
        (["--samples", "many"], 2, ["--samples", "a whole number"]),
        (["--suite", "quickstart", "--task", "arithmetic"], 2, ["--suite", "--task"]),
        (["--engine", "llama"], 2, ["llama", "vllm"]),
        (["--set", "dtipe=float32"], 2, ["dtipe", "dtype"]),
        (["--set", "dtype=int3"], 2, ["int3", "float32"]),
        (["--set", "seed"], 2, ["key=value"]),
        (["--set", "seed=x"], 2, ["seed", "'x'"]),
        (["--data", "nowhere"], 2, ["nowhere"]),
        (["--max-tokens", "10000000"], 2, ["10000000"]),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, tmp_path: Path, words: list[str], code: int, said: list[str]) -> None:
    left, out, err = cli("eval", "builtin:tiny", *words)
    assert (left, out) == (code, "")
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    for part in said:
        assert part in err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no model")
    for spec, code, said in (
        ("./empty", 2, "config.json"),
        ("./gone", 2, "./gone"),
        ("builtin:huge", 2, "tiny"),
    ):
        left, _, err = cli("eval", spec)
        assert (left, len(err.strip().splitlines())) == (code, 1), err
        assert said in err


def test_a_protocol_with_a_chat_needs_a_chat_template(cli: Cli, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(builtin_model_dir("tiny"), model)
    (model / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((model / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    left, _, err = cli("eval", str(model))
    assert left == 2
    assert "chat template" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(0), "{broken"], "aime25.jsonl:2"),
        ([row(number) for number in range(29)], "30"),
        ([row(number % 29) for number in range(30)], "aime25-0"),
        ([row(number) for number in range(30)], "gold"),
        ([row(0), '{"id": "aime25-1", "problem": "No answer?"}'], "answer"),
    ],
)
def test_rows_that_are_not_the_benchmark(cli: Cli, tmp_path: Path, rows: list[str], said: str) -> None:
    folder = write_rows(tmp_path / "rows", rows)
    left, out, err = cli("eval", "builtin:tiny", "--task", "aime25", "--data", str(folder))
    assert (left, out) == (2, ""), err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_no_gpu_when_one_was_asked_for(cli: Cli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    left, _, err = cli("eval", "builtin:tiny", "--set", "device=cuda")
    assert left == 3
    assert "device=cuda" in err


@pytest.mark.parametrize(
    ("words", "offline", "said"),
    [
        (["builtin:tiny", "--task", "aime25"], "1", "--data"),
        pytest.param(["builtin:tiny", "--task", "aime25"], "0", "--data", marks=pytest.mark.slow),  # retries: 24 s
        (["owner/model-that-is-not-cached", "--task", "arithmetic"], "0", "cannot be reached"),
    ],
)
def test_the_hub_out_of_reach_names_the_offline_way(tmp_path: Path, words: list[str], offline: str, said: str) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": offline}
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "eval", *words],
        cwd=tmp_path,
        env=os.environ | nobody,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_dry_run_says_what_would_be_generated_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    left, out, _ = cli(
        "eval", "builtin:tiny", "--samples", "3", "--limit", "5", "--max-tokens", "7", "--dry-run", "--json"
    )
    plan = json.loads(out)
    assert left == 0
    assert plan["num_samples"] == 3 * 5
    assert plan["max_new_tokens"] == 3 * 5 * 7
    left, again, _ = cli(
        "eval", "builtin:tiny", "--samples", "9", "--limit", "5", "--max-tokens", "7", "--dry-run", "--json"
    )
    assert json.loads(again)["lock_hash"] == plan["lock_hash"], "k may grow, so it is not in the lock"
    assert list(tmp_path.iterdir()) == []


def test_the_command_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tbrm_bench"]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    first = subprocess.run(
        [*command, "eval", "builtin:tiny", "--samples", "4", "--limit", "30", "--out", "run", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert result == json.loads((tmp_path / "run" / "results.json").read_text())
    shown = subprocess.run(
        [*command, "show", "run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "arithmetic" in shown.stdout
    assert f"{100 * result['tasks'][0]['avg']:.1f}" in shown.stdout
    graded = subprocess.run(
        [*command, "grade", "run", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(graded.stdout)["changes"] == []
    assert "next: tbench show run" in first.stderr
