"""Numbers of each step, copied to TensorBoard, Weights & Biases or trackio while a training runs.

    projects = {"tensorboard": "", "wandb": "grpo-small"}      package -> project; TensorBoard has none
    require_loggers(projects)                                  before anything is loaded
    for logger in open_loggers(projects, Path("runs/x"), recipe):
        logger.log(7, {"reward": 0.53})

Nothing of the packages is imported before a logger is opened.
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tbrm_bench.errors import MissingExtra


class Logger(Protocol):
    """What takes the numbers of each step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the numbers of one step."""
        ...

    def close(self) -> None:
        """Send what is still held."""
        ...


class _TensorBoard:
    def __init__(self, output: Path) -> None:
        self.writer = _load("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(output / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)

    def close(self) -> None:
        self.writer.close()


class _Tracker:
    """Weights & Biases and trackio, which has taken over its interface."""

    def __init__(self, package: str, project: str, output: Path, config: Mapping[str, Any]) -> None:
        self.module = _load(package, package)
        self.module.init(project=project, name=output.name, config=dict(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()


def require_loggers(packages: Iterable[str]) -> None:
    """Raise MissingExtra for a package that is not installed; none is imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "loggers")


def open_loggers(projects: Mapping[str, str], output: Path, config: Mapping[str, Any]) -> list[Logger]:
    """Start the loggers of a run that writes to `output`; raises MissingExtra for one that cannot be imported."""
    return [
        _TensorBoard(output) if package == "tensorboard" else _Tracker(package, project, output, config)
        for package, project in projects.items()
    ]


def _load(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(package, "loggers") from None
