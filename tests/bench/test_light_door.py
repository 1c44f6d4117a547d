"""The base install is the grader alone: it needs none of a run's packages, and it starts at once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_environment import outside, own_environment, pip, run_in

from tbrm_bench.errors import BENCH_MODULES, ExitCode, missing_extra

pytestmark = pytest.mark.network
COLD_S, SYMBOLIC_S = 0.3, 1.0
QUESTIONS = r"""{"gold": "2\\sqrt3", "prediction": "\\boxed{\\sqrt{12}}"}
{"gold": "4, 9", "prediction": "9, 4"}
"""

COLD = r"""
import json, resource, sys, time
from tbrm_bench.grading import grade
from tbrm_bench.grading.grader import _shared

def seconds(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime

first = grade(r"so it is \boxed{0.5}.", r"\frac12")
cold = seconds(resource.RUSAGE_SELF)
symbolic = grade(r"\boxed{\int_0^1 2x\,dx}", "1")
_shared.close()
for _ in range(200):  # until its process is buried
    if seconds(resource.RUSAGE_CHILDREN):
        break
    time.sleep(0.05)
print(json.dumps({
    "verdicts": [first.status, symbolic.status, symbolic.rule], "cold": cold,
    "symbolic": seconds(resource.RUSAGE_CHILDREN), "loaded": sorted(sys.modules),
}))
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment with the base install alone."""
    with own_environment(tmp_path_factory.mktemp("light"), []) as python:
        yield python


def test_it_brings_nothing_that_a_run_needs(light: Path) -> None:
    names = {one["name"].lower().replace("-", "_") for one in json.loads(pip(light, "list", "--format=json").stdout)}
    assert not names & {"numpy", "scipy", "datasets", "pyarrow", "huggingface_hub", "jinja2", "pyyaml", "isal", "torch"}
    for module in BENCH_MODULES:
        assert missing_extra(ModuleNotFoundError(name=module)), module
    assert pip(light, "check").returncode == 0


def test_the_first_verdicts_come_at_once(light: Path, tmp_path: Path) -> None:
    run_in(light, "-c", COLD, folder=tmp_path)  # the first run writes the bytecode
    runs = [json.loads(run_in(light, "-c", COLD, folder=tmp_path)) for _ in range(3)]
    assert runs[0]["verdicts"] == ["correct", "correct", "sympy"]
    assert min(run["cold"] for run in runs) < COLD_S
    assert min(run["cold"] + run["symbolic"] for run in runs) < SYMBOLIC_S
    assert not {"typer", "rich", "sympy", "mpmath"} & set(runs[0]["loaded"]), "these load in a worker, or not at all"


def test_lines_are_graded_and_tasks_are_checked(light: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(light), "-m", "tbrm_bench", "grade", "--jsonl", "--explain"],
        input=QUESTIONS,
        capture_output=True,
        text=True,
        check=True,
        env=outside(HOME=str(tmp_path)),
    )
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["correct", "correct"]
    assert "200/200" in run_in(light, "-m", "tbrm_bench", "tasks", "check", "--task", "arithmetic", folder=tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "show runs/a",
        "grade runs/a",
        "eval builtin:tiny",
        "compare runs/a runs/b",
        "board show",
        "merge ckpt out",
        "push runs/a you/results",
        "pull you/results runs/b",
        "download you/model",
        "train tiny-grpo",
    ],
)
def test_a_command_that_needs_more_says_what_to_install(light: Path, tmp_path: Path, words: str) -> None:
    done = subprocess.run(
        [str(light), "-m", "tbrm_bench", *words.split()],
        cwd=tmp_path,
        env=outside(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.MISSING, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith(" is not installed; run: pip install 'tbrm-bench[bench]'")
    assert done.stdout == ""


def test_doctor_says_what_is_left_out(light: Path, tmp_path: Path) -> None:
    found = json.loads(run_in(light, "-m", "tbrm_bench", "doctor", "--json", folder=tmp_path))
    missing = {one["subject"]: one["detail"] for one in found if one["level"] == "missing"}
    assert "tbrm-bench[bench]" in missing["runs"]
    assert "tbrm-bench[bench]" in missing["Hub"]
