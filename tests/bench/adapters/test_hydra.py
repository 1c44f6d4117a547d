"""Beside Hydra: its antlr 4.9 and our reading of LaTeX in one process, and the same verdicts as with 4.13."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_environment import ROOT, outside, own_environment, pip, run_in

network = pytest.mark.network
HYDRA = ["hydra-core>=1.3", "omegaconf>=2.3"]

TOGETHER = r"""
import json, pathlib
import hydra
from omegaconf import OmegaConf
from tbrm_bench.grading import grade
from math_verify import parse, verify

pathlib.Path("conf.yaml").write_text("steps: 1\nlast: ${steps}\n")
with hydra.initialize_config_dir(config_dir=str(pathlib.Path.cwd()), version_base=None):
    config = hydra.compose("conf", overrides=["steps=5", "+tags=[a,'b c']"])
print(json.dumps({
    "config": OmegaConf.to_container(config, resolve=True),
    "symbolic": grade(r"\boxed{\int_0^1 2x\,dx}", "1").rule,
    "second": verify(parse(r"$\frac12$"), parse("$0.5$")),
}))
"""

GOLDEN = """
import json, sys
from tbrm_bench.grading import Gold, GraderPool
from tbrm_bench.records import SampleKey

num_cases, misses = 0, []
for strict in (False, True):
    with GraderPool(strict_boxed=strict) as pool:
        cases = [json.loads(line) for file in sys.argv[1:] for line in open(file)]
        cases = [case for case in cases if case.get("strict_boxed", False) == strict]
        for index, case in enumerate(cases):
            gold = Gold(tuple(case["gold"]) if isinstance(case["gold"], list) else (case["gold"],))
            pool.submit(SampleKey("", "", index), case["prediction"], gold, case.get("finish_reason", "stop"))
        for key, grade in pool.drain(wait=True):
            num_cases += 1
            if grade.status != cases[key.sample_index]["verdict"]:
                misses.append(cases[key.sample_index]["id"])
print(json.dumps([num_cases, misses]))
"""


@pytest.fixture(scope="module")
def beside_hydra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment with Hydra, and then the wheel."""
    with own_environment(tmp_path_factory.mktemp("hydra"), HYDRA) as python:
        yield python


def versions(python: Path) -> dict[str, str]:
    """Return what is installed."""
    return {one["name"]: one["version"] for one in json.loads(pip(python, "list", "--format=json").stdout)}


@network
def test_the_wheel_leaves_hydra_as_it_is(beside_hydra: Path) -> None:
    found = versions(beside_hydra)
    assert found["antlr4-python3-runtime"] == "4.9.3"
    assert found["hydra-core"] >= "1.3"
    assert pip(beside_hydra, "check").returncode == 0


@network
def test_both_work_in_one_process(beside_hydra: Path, tmp_path: Path) -> None:
    found = json.loads(run_in(beside_hydra, "-c", TOGETHER, folder=tmp_path))
    assert found == {
        "config": {"steps": 5, "last": 5, "tags": ["a", "b c"]},
        "symbolic": "sympy",
        "second": True,
    }


@network
def test_the_golden_cases_have_the_same_verdicts(beside_hydra: Path, tmp_path: Path) -> None:
    files = sorted(map(str, (ROOT / "tests" / "golden").glob("grading*.jsonl")))
    num_cases, misses = json.loads(run_in(beside_hydra, "-c", GOLDEN, *files, folder=tmp_path))
    assert num_cases > 6000
    assert misses == []


@pytest.mark.slow
def test_the_grading_tests_pass_there(beside_hydra: Path, tmp_path: Path) -> None:
    assert pip(beside_hydra, "install", "--quiet", "pytest", "hypothesis", "numpy", "scipy").returncode == 0
    command = [str(beside_hydra), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not network"]
    done = subprocess.run(
        [*command, "tests/bench/grading"],
        cwd=ROOT,  # the clone's own code, in the environment's Python
        env=outside(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert versions(beside_hydra)["antlr4-python3-runtime"] == "4.9.3"


@network
def test_a_resolver_takes_hydra_1_3_for_both(tmp_path: Path) -> None:
    """In either order, and with what a run needs too; nothing is installed but the resolver."""
    with own_environment(tmp_path, ["uv"]) as python:
        (wheel,) = tmp_path.glob("*.whl")
        for extras in ("", "[bench]"):
            lines = [f"tbrm-bench{extras} @ {wheel.as_uri()}", "verl==0.9.1"]
            for order in (lines, lines[::-1]):
                (tmp_path / "wanted.in").write_text("\n".join(order))
                words = ("-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "wanted.in")
                found = dict(
                    line.split("==") for line in run_in(python, *words, folder=tmp_path).split() if "==" in line
                )
                assert found["antlr4-python3-runtime"] == "4.9.3"
                assert tuple(map(int, found["hydra-core"].split(".")[:2])) >= (1, 3)
