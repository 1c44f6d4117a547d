"""One table of engines: help, errors, settings, versions and the recipe of a training follow from it."""

import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import tbrm_bench.engines as engines
from tbrm_bench.diagnosis import diagnose
from tbrm_bench.engines import ENGINES, engine_class, make_engine
from tbrm_bench.engines.base import EngineAbout, EngineConfig
from tbrm_bench.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Echo:
    """An engine that reads its device alone."""

    config: EngineConfig
    about = EngineAbout(builds={"tbrm-bench": "echo"}, probe="print('7.1')", settings=("device",))


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("echo_engine")
    module.Echo = Echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "echo_engine", module)
    monkeypatch.setitem(engines.ENGINES, "echo", ("echo_engine", "Echo"))


@pytest.mark.usefixtures("echo")
def test_a_new_engine_is_its_class_and_a_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EngineConfig("m", 64, device="cpu")
    assert isinstance(make_engine("echo", config), Echo)
    with pytest.raises(UserError, match=f"'ecko' does not exist; available: {', '.join(ENGINES)}"):
        engine_class("ecko")
    with pytest.raises(UserError, match="--set dtype=float32 is not read by --engine echo, which reads device"):
        make_engine("echo", EngineConfig("m", 64, dtype="float32"))
    monkeypatch.setattr("tbrm_bench.diagnosis.ENGINES", ["echo"])  # importing vLLM takes long
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (found,) = [finding for finding in diagnose() if finding.subject == "engine echo"]
    assert (found.level, found.detail) == ("ok", "7.1")


def test_the_reference_runs_on_one_device() -> None:
    with pytest.raises(UserError, match="--set tensor_parallel=2 is not read by --engine hf"):
        make_engine("hf", EngineConfig("m", 64, tensor_parallel=2))


def test_a_training_samples_with_engines_of_the_table() -> None:
    from tbrm_train.recipes.rl_recipe import Rollout
    from tbrm_train.rollout.sampling import ROLLOUTS

    assert set(ROLLOUTS) == set(typing.get_args(typing.get_type_hints(Rollout)["engine"])) <= set(ENGINES)


def test_the_page_shows_every_engine() -> None:
    assert f"--engine {'|'.join(ENGINES)}" in (ROOT / "docs" / "eval.md").read_text()
