"""Real checkpoints for the merge's tests: written once a session by the libraries that own the formats.

The scripts in `checkpoints/` run in processes of their own (torch, DeepSpeed and PEFT never enter the tests' process
through them); the first test that asks for a checkpoint of a script waits until all of the script's default ones exist.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints.variants import DEFAULT, FULL, Place

FOLDER = Path(__file__).resolve().parents[2] / "support" / "checkpoints"
NEEDS = {"fsdp": "torch", "zero": "deepspeed", "dcp": "accelerate", "plain": "transformers", "lora": "peft"}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a merge remembers between runs is not taken from, nor left in, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Place]:
    """Give (script, name) -> the place of a checkpoint that must not be changed; skips without the script's library."""
    written: dict[tuple[str, bool], Path] = {}

    def find(script: str, name: str) -> Place:
        if importlib.util.find_spec(NEEDS[script]) is None:
            pytest.skip(f"{NEEDS[script]} is not installed; it writes these checkpoints (pip install {NEEDS[script]})")
        default = {variant.name for variant in DEFAULT[script]}
        key = (script, name in default)
        if key not in written:
            names = default if name in default else {variant.name for variant in FULL[script]} - default
            written[key] = tmp_path_factory.mktemp(script)
            write(script, written[key], sorted(names))
        return Place(written[key] / name)

    return find


@pytest.fixture
def copied(checkpoint: Callable[[str, str], Place], tmp_path: Path) -> Callable[[str, str], Place]:
    """Give (script, name) -> the place of a copy that a test may damage."""

    def copy(script: str, name: str) -> Place:
        return Place(shutil.copytree(checkpoint(script, name).folder, tmp_path / name))

    return copy


def write(script: str, out: Path, names: list[str]) -> None:
    """Run a script; its output is shown only when it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"checkpoints.{script}", str(out), *names],
        cwd=FOLDER,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
