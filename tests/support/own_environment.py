"""Environments of their own for tests: the wheel of this clone beside somebody else's library, and nothing else."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into the folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def outside(**more: str) -> dict[str, str]:
    """Return an environment in which nothing of the clone or of this process is in reach."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))} | more


def pip(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pip of an environment."""
    command = [str(python), "-m", "pip", *words]
    return subprocess.run(command, cwd=python.parent, env=outside(), capture_output=True, text=True, check=False)


@contextmanager
def own_environment(
    folder: Path, libraries: Sequence[str], *, with_torch: bool = False, without_dependencies: bool = False
) -> Iterator[Path]:
    """Yield the Python of a new environment with the libraries and then the wheel; it is deleted afterwards.

    Skips the test where the libraries cannot be installed; that the wheel fits in beside them is part of the test.
    """
    place = folder / "venv"
    try:
        venv.create(place, with_pip=True, symlinks=True)
        python = place / "bin" / "python"
        if with_torch:  # the build for CPUs, where the lock's is at hand
            pin = next(line for line in (ROOT / "locks" / "cpu.txt").read_text().splitlines() if "torch==" in line)
            pip(python, "install", "--quiet", pin)
        if libraries and (found := pip(python, "install", "--quiet", *libraries)).returncode:
            pytest.skip(f"{', '.join(libraries)} cannot be installed here: {found.stderr.strip()[-300:]}")
        alone = ["--no-deps"] if without_dependencies else []
        found = pip(python, "install", "--quiet", *alone, str(build_wheel(folder)))
        assert found.returncode == 0, found.stderr
        yield python
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run_in(python: Path, *words: str, folder: Path, **environment: str) -> str:
    """Run the environment's Python in a folder and return what it prints."""
    done = subprocess.run(
        [str(python), *words],
        cwd=folder,
        env=outside(HOME=str(folder), **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def blocks(page: str, heading: str, language: str) -> list[str]:
    """Return the fenced blocks of a language under a heading of a page in docs/."""
    text = (ROOT / "docs" / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [part.partition("```")[0] for part in section.split(f"```{language}\n")[1:]]
