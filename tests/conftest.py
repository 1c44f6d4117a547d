"""Fixtures that several test files share: the engines are loaded once."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import BROWSER, Chromium
from hypothesis import settings

from tbrm_bench.cli.app import main
from tbrm_bench.engines.base import Engine, EngineConfig
from tbrm_bench.engines.hf import HfEngine
from tbrm_bench.engines.vllm import VllmEngine
from tbrm_bench.resources import builtin_model_dir

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the default suite runs without a network
settings.register_profile("tbench", deadline=None)  # a busy machine is no mistake of the code
settings.load_profile("tbench")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave `own_process` to test_own_process.py: leaving a vLLM engine ends the process group of the shared one."""
    is_alone = "TBENCH_OWN_PROCESS" in os.environ
    items[:] = [item for item in items if (item.get_closest_marker("own_process") is not None) == is_alone]


@pytest.fixture
def tbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `tbench WORDS` in this process; return exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tbench", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real rows of the six benchmarks; they are not part of the project."""
    folder = os.environ.get("TBENCH_DATA")
    if not folder:
        pytest.skip("TBENCH_DATA does not name a folder with the benchmarks' rows (aime24.jsonl, ...)")
    return Path(folder)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A real browser; every test opens a tab of its own."""
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on the PATH")
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="session")
def engine_config() -> EngineConfig:
    return EngineConfig(str(builtin_model_dir("tiny")), max_model_len=512)


@pytest.fixture(scope="session")
def vllm_engine(engine_config: EngineConfig) -> Iterator[Engine]:
    """The bundled model in a real vLLM engine in this process."""
    with VllmEngine(engine_config) as engine:
        yield engine


@pytest.fixture(scope="session")
def hf_engine(engine_config: EngineConfig) -> Iterator[Engine]:
    """The bundled model in transformers."""
    with HfEngine(engine_config) as engine:
        yield engine
