"""Tests that load and leave vLLM engines of their own, in a process of their own: one for all of them."""

import os
import subprocess
import sys
from pathlib import Path

FILES = ("engines/test_finite.py", "engines/test_positions.py")


def test_the_tests_marked_own_process_pass() -> None:
    here = Path(__file__).parent
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(here / name) for name in FILES)]
    env = os.environ | {"TBENCH_OWN_PROCESS": "1"}
    child = subprocess.run(words, cwd=here.parents[1], env=env, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout[-8000:]
