"""The wheel, away from the clone: it holds what it needs and nothing else, and it runs."""

import json
import os
import re
import subprocess
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from own_environment import build_wheel

from tbrm_bench.errors import BENCH_EXTRA, BENCH_MODULES

ROOT = Path(__file__).resolve().parents[2]
MAX_WHEEL_BYTES = 4_000_000
DISTRIBUTIONS = {"yaml": "pyyaml", "huggingface_hub": "huggingface-hub"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


def test_what_a_missing_import_is_answered_with_is_what_the_extra_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    held = {re.split("[>=<]", line)[0] for line in extras[BENCH_EXTRA]}
    assert held == {DISTRIBUTIONS.get(name, name) for name in BENCH_MODULES}
    assert not held & {re.split("[>=<]", line)[0] for line in project["dependencies"]}
    for name in ("vllm", "vllm-cpu", "hf", "train", "reasoning-gym", "dev"):
        assert f"tbrm-bench[{BENCH_EXTRA}]" in extras[name], "what runs something brings what runs need"


def run(python: Path, *words: str, cwd: Path) -> str:
    """Run the installed Python with nothing of the clone or of this process in reach."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))}
    done = subprocess.run(
        [str(python), *words], cwd=cwd, env=keep | {"HOME": str(cwd)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_venv(folder: Path, *, with_pip: bool) -> Path:
    venv.create(folder, with_pip=with_pip, symlinks=True)
    return folder / "bin" / "python"


def test_the_wheel_holds_the_data_and_no_clutter(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "tbrm_bench/_data/tasks/suites.toml",
        "tbrm_bench/_data/tasks/aime24.toml",
        "tbrm_bench/_data/tasks/protocols/tbrm-paper.toml",
        *(f"tbrm_bench/_data/recipes/{file.name}" for file in (ROOT / "train" / "recipes").glob("*.toml")),
        "tbrm_bench/builtin_models/tiny/model.safetensors",
        "tbrm_bench/py.typed",
        "tbrm_train/cli/train.py",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"tbrm_bench", "tbrm_train"}
    assert not [name for name in names if "__pycache__" in name or "tests/" in name]
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_nothing_in_the_wheel_names_a_path_of_this_machine(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    for name in archive.namelist():
        assert str(ROOT).encode() not in archive.read(name), name


def test_the_installed_wheel_runs_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    python = make_venv(tmp_path / "venv", with_pip=False)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # Dependencies come from this environment: a path in a .pth file runs none of that folder's own .pth files, so the
    # editable install of the clone stays out of reach.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = "import tbrm_bench, tbrm_train; print(tbrm_bench.__file__, tbrm_train.__file__)"
    found = run(python, "-c", where, cwd=elsewhere)
    assert found.count(str(site)) == 2
    assert {
        task["task"]
        for task in json.loads(run(python, "-m", "tbrm_bench", "tasks", "list", "--json", cwd=elsewhere))["tasks"]
    } >= {
        "aime24",
        "arithmetic",
    }
    plan = json.loads(
        run(python, "-m", "tbrm_bench", "eval", "builtin:tiny", "--limit", "5", "--dry-run", "--json", cwd=elsewhere)
    )
    assert plan["num_samples"] == 5 * 8
    words = ("train", "compare", "tiny-grpo", "--arms", "tbrm,grpo", "--seeds", "1", "--dry-run", "--json")
    assert len(json.loads(run(python, "-m", "tbrm_bench", *words, cwd=elsewhere))["runs"]) == 2


@pytest.mark.network
def test_the_base_install_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Everything from the package index, without the clone, torch or an engine: what a laptop gets."""
    python = make_venv(tmp_path / "venv", with_pip=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"{wheel}[bench]"], check=True, cwd=tmp_path)
    assert "tbench" in run(python, "-m", "tbrm_bench", "--version", cwd=tmp_path)
    assert "eval" in run(python, "-m", "tbrm_bench", "--help", cwd=tmp_path)
    assert run(python, "-m", "tbrm_bench", "tasks", "check", "--task", "arithmetic", cwd=tmp_path)
    assert run(python, "-m", "tbrm_bench", "board", "show", cwd=tmp_path)
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
    assert subprocess.run([str(python), "-c", code], check=False).returncode == 0, (
        "the base install must not bring torch"
    )
