"""`tbench train compare` end to end at toy size: killed and resumed, reported, refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import UserError
from tbrm_bench.metrics.training_seeds import seeded_difference
from tbrm_bench.run.comparison import read_run
from tbrm_train.comparison import runs as comparison_runs
from tbrm_train.comparison.runs import Report
from tbrm_train.output.checkpoint import locked
from tbrm_train.output.metrics_log import METRICS, VALIDATION

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "train" / "recipes" / "tiny-tbrm.toml"
# At most 640 tokens per step, whatever the model writes: the budget takes two steps or more.
TOY = (
    *("rollout.engine=hf", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "rollout.max_tokens=40"),
    *(
        "prompts.num_prompts=24",
        "prompts.validation=4",
        "optimizer.steps=30",
        "evaluation.every=1",
        "evaluation.samples=2",
    ),
    *("checkpoints.every=1", "optimizer.warmup_steps=0", "optimizer.schedule=linear", "deepspeed.num_threads=1"),
)
WORDS = (str(TINY), *TOY, "--arms", "tbrm,grpo", "--seeds", "2", "--budget", "tokens=650")
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
Cli = Callable[..., tuple[int, str, str]]
Runs = Any  # of conftest.py


class Forks:
    """Launches trainings as forks of a process that has loaded everything; kills the ones it is told to."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.kills: dict[str, tuple[str, int]] = {}
        self.faults: dict[str, dict[str, str]] = {}
        self.launched: list[str] = []

    def __call__(self, words: Sequence[str], log: Path, report: Report, *, num_processes: int = 1) -> int:
        name = f"{log.parent.name}/{log.stem}"
        self.launched.append(name)
        done = self.runs.tbench_train(words, kill=self.kills.get(name), environment=self.faults.get(name))
        with log.open("a") as stream:
            stream.write(done.err)
        return int(done.codes[0])


@pytest.fixture
def forks(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Forks:
    found = Forks(runs)
    monkeypatch.setattr(comparison_runs, "launch_process", found)
    return found


@pytest.fixture
def cli(tbench: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `tbench train compare WORDS`."""
    monkeypatch.setenv("COLUMNS", "150")
    return partial(tbench, "train", "compare")


def command(out: Path, *words: str) -> list[str]:
    """Return the command line of a comparison."""
    return [sys.executable, "-m", "tbrm_bench", "train", "compare", *WORDS, "--out", str(out), *words]


def finish(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a comparison to its end, in real processes."""
    return subprocess.run(command(out, *words), capture_output=True, text=True, check=False, env=ONE_THREAD)


def trained(folder: Path) -> dict[str, bytes]:
    """Return what trainings leave that must not depend on kills."""
    names = (METRICS, VALIDATION, "model.safetensors", "meta.json")
    return {str(path.relative_to(folder)): path.read_bytes() for name in names for path in folder.rglob(name)}


def numbers(result: dict[str, Any]) -> str:
    """Return a result without paths, seconds and memory."""
    text = json.dumps({key: result[key] for key in ("scores", "pairs", "seeds", "budget")})
    curves = [[point["score"] for point in run["curve"]] for arm in result["arms"] for run in arm["runs"]]
    return text + json.dumps(curves)


def test_killed_and_given_again_a_comparison_ends_as_if_nothing_had_been(
    forks: Forks, cli: Cli, tmp_path: Path
) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    code, out, err = cli(*WORDS, "--out", straight, "--json")
    assert code == 0, err
    ours = json.loads(out)

    forks.kills = {
        "grpo/seed-1": ("tbrm_train.run.loop._roll_out", 2),
        "tbrm/seed-2": ("tbrm_train.learner.learner.Learner.save", 1),
    }
    code, _, err = cli(*WORDS, "--out", killed)
    assert code == 1
    assert err.count("failed (ended by SIGKILL); continuing with the rest") == 2
    broken = json.loads((killed / "comparison.json").read_text())
    assert not broken["complete"]
    assert broken["pairs"] == [], "no seed was finished by both arms"
    finished = {name: data for name, data in trained(killed).items() if "tbrm/seed-1" in name or "grpo/seed-2" in name}
    times = {name: (killed / name).stat().st_mtime_ns for name in finished}

    forks.kills, forks.launched = {}, []
    code, out, err = cli(*WORDS, "--out", killed, "--json")
    assert code == 0, err
    assert forks.launched == ["grpo/seed-1", "tbrm/seed-2"], "what is finished is not started"
    assert err.count("kept") == 2
    assert err.count("resumes") == 1, "the other one was killed in its first checkpoint"
    assert {name: (killed / name).stat().st_mtime_ns for name in finished} == times
    assert trained(killed) == trained(straight)
    theirs = json.loads(out)
    assert numbers(theirs) == numbers(ours)
    assert json.loads((killed / "comparison.json").read_text()) == theirs

    check_report(straight, ours)


def check_report(folder: Path, result: dict[str, Any]) -> None:
    """The result is that of the files: shared questions, budget, statistics, tables."""
    lines = {}
    for arm in ("tbrm", "grpo"):
        for seed in (1, 2):
            run = folder / "runs" / arm / f"seed-{seed}"
            lines[arm, seed] = json.loads((run / VALIDATION).read_text().splitlines()[-1])
            steps = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
            spent = [step.get("tokens/generated", 0) for step in steps]
            assert sum(spent[:-1]) < 650 <= sum(spent)
    assert len({tuple(line["ids"]) for line in lines.values()}) == 1
    tables = [[lines[arm, seed]["scores"] for seed in (1, 2)] for arm in ("tbrm", "grpo")]
    expected = seeded_difference(tables[0], tables[1], lines["tbrm", 1]["clusters"])
    (pair,) = result["pairs"]
    assert (pair["base"], pair["other"]) == ("tbrm", "grpo")
    assert pair["result"]["difference"]["mean"] == pytest.approx(expected.difference.mean)
    assert pair["result"]["difference"]["se_questions"] == pytest.approx(expected.difference.se_questions)
    first = [
        json.loads((folder / "runs" / arm / "seed-1" / METRICS).read_text().splitlines()[1]) for arm in ("tbrm", "grpo")
    ]
    for key in ("reward", "tokens/generated", "cap_rate"):
        assert first[0][key] == first[1][key], "the same prompts and the same sample seeds"
    report = (folder / "comparison.md").read_text()
    assert re.search(r"\| grpo \| algorithm.name \| tbrm \| grpo \| the algorithm \|", report)
    assert "curves.svg" in report
    assert (folder / "curves.svg").read_text().startswith("<svg")
    tbrm, grpo = result["arms"]
    assert tbrm["ledger"]["forward_tokens"] == 2 * tbrm["ledger"]["trained_tokens"], "policy and reference"
    assert grpo["ledger"]["forward_tokens"] == grpo["ledger"]["trained_tokens"]
    assert "beta" in grpo["dropped"]


def test_the_samples_behind_values_are_part_of_an_arm_s_budget(forks: Forks, cli: Cli, tmp_path: Path) -> None:
    words = [*WORDS, "--arms", "tbrm,astarpo", "--set", "astarpo:algorithm.value_samples=2", "--seeds", "1"]
    code, out, err = cli(*words, "--budget", "tokens=2500", "--out", tmp_path / "x", "--json")
    assert code == 0, err
    spent = {}
    for arm in json.loads(out)["arms"]:
        run = tmp_path / "x" / "runs" / arm["name"] / "seed-1"
        lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
        spent[arm["name"]] = [line.get("tokens/generated", 0) for line in lines]
        assert arm["ledger"]["generated_tokens"] == sum(spent[arm["name"]])
        assert arm["ledger"]["steps"] == len(lines) - 1
    assert all(sum(tokens[:-1]) < 2500 <= sum(tokens) for tokens in spent.values())
    assert spent["tbrm"][0] == 0 < spent["astarpo"][0]
    assert len(spent["astarpo"]) < len(spent["tbrm"]), "what V* took is missing in steps"


def test_one_seed_and_a_budget_that_steps_cut_short_are_told(forks: Forks, cli: Cli, tmp_path: Path) -> None:
    words = [*WORDS[:-3], "1", "--budget", "tokens=1e6", "optimizer.steps=1"]
    code, out, err = cli(*words, "--out", tmp_path / "x")
    assert code == 0, err
    assert "one seed" in err
    assert "ended after optimizer.steps=1" in err
    (row,) = [line for line in out.splitlines() if "grpo - tbrm" in line]
    assert row.rstrip().endswith("cannot tell")
    stored = json.loads((tmp_path / "x" / "comparison.json").read_text())
    assert stored["pairs"][0]["result"]["difference"]["se_seeds"] is None
    assert stored["pairs"][0]["p_holm"] is None
    code, _, err = cli(*words, "--out", tmp_path / "x", "rollout.max_tokens=30")
    assert code == 2
    assert "has another arm tbrm: rollout.max_tokens: 30, not 40" in err


def test_an_undeclared_difference_is_refused_before_anything_is_done(cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "hot.toml"
    text = TINY.read_text().replace("[rollout]", "[rollout]\ntemperature = 0.7")
    other.write_text(text)
    code, out, err = cli(TINY, "--arms", f"tbrm,{other}", "--out", tmp_path / "x")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "rollout.temperature is 0.7, the base recipe has 1.0" in err
    assert not (tmp_path / "x").exists()


def test_a_dry_run_shows_the_plan_and_does_nothing(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli(*WORDS, "--out", tmp_path / "x", "--dry-run", "--json")
    assert code == 0
    assert [(run["arm"], run["seed"], run["finished"]) for run in json.loads(out)["runs"]] == [
        *(("tbrm", 1, False), ("grpo", 1, False), ("tbrm", 2, False), ("grpo", 2, False)),
    ]
    assert not (tmp_path / "x").exists()


def test_a_training_that_fails_is_told_by_its_own_words(forks: Forks, cli: Cli, tmp_path: Path) -> None:
    words = [*WORDS, "--out", tmp_path / "x"]
    words[words.index("2")] = "1"
    forks.faults = {"grpo/seed-1": {"TEST_GRADIENT": "policy nan 1 0"}}
    code, _, err = cli(*words, "optimizer.steps=1")
    assert code == 1
    assert "failed (in step 1 the gradient of" in err
    assert "grpo seed 1 is missing" in err
    assert [row["arm"] for row in json.loads((tmp_path / "x" / "comparison.json").read_text())["scores"]] == ["tbrm"]


def test_an_arm_that_cannot_start_is_refused_before_any_other_does(forks: Forks, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli(*WORDS, "--set", "grpo:rollout.prompts_per_step=40", "--out", tmp_path / "x")
    assert code == 2
    assert "leaves 20 prompts for training" in err
    assert not forks.launched


@pytest.mark.slow  # real processes load everything for each training: a minute
def test_the_command_killed_as_a_whole_leaves_no_training_behind(tmp_path: Path) -> None:
    out = tmp_path / "x"
    with subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True, env=ONE_THREAD) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "step 2/" in line)
        process.send_signal(signal.SIGKILL)
    time.sleep(1)
    with locked(out / "runs" / "tbrm" / "seed-1"):
        pass  # else the training has outlived its comparison
    done = finish(out)
    assert done.returncode == 0, done.stderr
    assert "[1/4] tbrm seed 1: resumes" in done.stderr
    assert json.loads((out / "comparison.json").read_text())["complete"]


@pytest.mark.slow  # two vLLMs in each of four trainings: some minutes
def test_several_processes_sample_by_vllm_and_every_task_is_compared(tmp_path: Path) -> None:
    out = tmp_path / "x"
    words = ["--budget", "steps=1", "rollout.engine=vllm", "evaluation.tasks=['arithmetic']", "--processes", "2"]
    # After one step of AdamW arms that agree on what is better are nearly the same: one of these does not move.
    words += ["--set", "grpo:optimizer.learning_rate=0", "optimizer.learning_rate=1e-3", "--json"]
    done = finish(out, *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["complete"]
    runs = {(arm, seed): out / "runs" / arm / f"seed-{seed}" for arm in ("tbrm", "grpo") for seed in (1, 2)}
    for run in runs.values():
        assert json.loads((run / "checkpoints" / "step-000001" / "meta.json").read_text())["world_size"] == 2
        assert all(json.loads(line)["probe/max"] < 1e-3 for line in (run / METRICS).read_text().splitlines()[1:])
    read = {key: read_run(run / "eval" / "step-000001").tasks["arithmetic"] for key, run in runs.items()}
    tables = [[list(read[arm, seed].scores.values()) for seed in (1, 2)] for arm in ("tbrm", "grpo")]
    clusters = read["tbrm", 1].clusters
    expected = seeded_difference(tables[0], tables[1], [clusters[name] for name in read["tbrm", 1].scores])
    assert tables[0] != tables[1], "a step at this rate changes answers"
    assert tables[1][0] == tables[1][1], "the model before training, asked with the same sample seeds"
    pairs = {pair["task"]: pair for pair in result["pairs"]}
    assert set(pairs) == {"validation", "arithmetic"}
    found = pairs["arithmetic"]["result"]["difference"]
    assert found["mean"] == pytest.approx(expected.difference.mean, abs=1e-12)
    assert found["se_questions"] == pytest.approx(expected.difference.se_questions, abs=1e-12)
    first = [json.loads((runs[arm, 1] / METRICS).read_text().splitlines()[1]) for arm in ("tbrm", "grpo")]
    assert first[0]["tokens/generated"] == first[1]["tokens/generated"], "the same prompts and sample seeds"
    # Once more: all is there, nothing is trained and the same is said.
    again = finish(out, *words)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert again.stderr.count("kept") == 4


@pytest.mark.slow  # real processes load everything for each training: a minute or two
def test_a_process_of_several_that_dies_costs_one_training_until_the_command_is_given_again(tmp_path: Path) -> None:
    """SIGKILL to the second process of a training, then to the comparison: nothing hangs, nothing is left."""
    out = tmp_path / "x"
    words = ("--processes", "2", "--seeds", "1", "--budget", "steps=3")
    with subprocess.Popen(command(out, *words), stderr=subprocess.PIPE, text=True, env=ONE_THREAD) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "step 2/" in line)
        kill_rank(out, 1)
        rest = process.stderr.read()
    assert process.returncode == 1
    assert "[1/2] tbrm seed 1: failed (" in rest
    assert "[2/2] grpo seed 1: starts" in rest
    assert not json.loads((out / "comparison.json").read_text())["complete"]
    with subprocess.Popen(command(out, *words), stderr=subprocess.PIPE, text=True, env=ONE_THREAD) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "tbrm seed 1: step " in line)
        process.send_signal(signal.SIGKILL)
    wait_until_free(out / "runs" / "tbrm" / "seed-1", limit_s=60)
    done = finish(out, *words)
    assert done.returncode == 0, done.stderr
    assert "[2/2] grpo seed 1: kept" in done.stderr
    assert json.loads((out / "comparison.json").read_text())["complete"]
    steps = [json.loads(line)["step"] for line in (out / "runs/tbrm/seed-1" / METRICS).read_text().splitlines()]
    assert steps == [0, 1, 2, 3]


def kill_rank(out: Path, rank: int) -> None:
    """Kill the process of a rank that trains somewhere in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, words = ((process / name).read_text().split("\0") for name in ("environ", "cmdline"))
        except OSError:  # it has ended, or is not ours
            continue
        if f"RANK={rank}" in environment and any(word.startswith(f"output={out}") for word in words):
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError(f"no process of rank {rank}")


def wait_until_free(folder: Path, *, limit_s: float) -> None:
    """Wait until no training holds the folder; raise TimeoutError if one does after so long."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            with locked(folder):
                return
        except UserError:
            time.sleep(0.5)
    raise TimeoutError(f"a training still holds {folder}")
