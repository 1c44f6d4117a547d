"""What a training logs: metrics.jsonl, timings.jsonl, and copies for TensorBoard, Weights & Biases or trackio.

    {"step": 7, "reward": 0.53, "loss": 0.018, ...}           metrics.jsonl: the same bytes when the run is repeated
    {"step": 7, "seconds/rollout": 1.4, "memory_gib": 2.1}    timings.jsonl: time and memory
    {"step": 7, "ids": ["000017"], "clusters": [0], "scores": [0.5]}    validation.jsonl: each held-out prompt

docs/train.md defines every number. Undefined is null. A run that resumes from step k first drops the lines of later
steps, which it will write again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tbrm_bench.disk import disk_errors
from tbrm_bench.files import read_text, write_text
from tbrm_bench.report.loggers import Logger, open_loggers
from tbrm_bench.strict_json import parse_json
from tbrm_train.recipes.rl_recipe import Logging, RlRecipe

METRICS, TIMINGS, VALIDATION = "metrics.jsonl", "timings.jsonl", "validation.jsonl"


class MetricsLog:
    """The files of one run, and its loggers; a context manager."""

    def __init__(self, recipe: RlRecipe, *, first_step: int, writes: bool) -> None:
        """Drop the lines of steps from `first_step` on; with `writes` False nothing is written.

        Raises MissingExtra for a logger that is not installed.
        """
        self.output = Path(recipe.output)
        self.writes = writes
        self._loggers: list[Logger] = []
        if writes:
            with disk_errors(self.output):
                for name in (METRICS, TIMINGS, VALIDATION):
                    keep_lines(self.output / name, before=first_step)
            self._loggers = open_loggers(projects_of(recipe.logging), self.output, asdict(recipe))

    def write(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Append one line to each file."""
        if not self.writes:
            return
        with disk_errors(self.output):
            for name, values in ((METRICS, metrics), (TIMINGS, timings)):
                with (self.output / name).open("a", encoding="utf-8") as stream:
                    stream.write(json_line({"step": step, **values}))
        for logger in self._loggers:
            logger.log(step, {**metrics, **timings})

    def write_validation(self, step: int, scores: Mapping[str, float], clusters: Sequence[int]) -> None:
        """Append the mean score of each held-out prompt, by id, and the index of its cluster."""
        if not self.writes:
            return
        line = {"step": step, "ids": list(scores), "clusters": list(clusters), "scores": list(scores.values())}
        with disk_errors(self.output), (self.output / VALIDATION).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close the loggers."""
        for logger in self._loggers:
            logger.close()


def json_line(values: Mapping[str, float]) -> str:
    """Return the values as one line of JSON; NaN and infinities, which JSON does not have, as null."""
    return json.dumps({key: value if math.isfinite(value) else None for key, value in values.items()}) + "\n"


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, in order; raises UserError for a file that is missing or a line that is damaged."""
    fix = "resume the training, which writes the lines of its last steps again"
    lines = read_text(file).splitlines()
    return [parse_json(line, place=f"{file}, line {row},", fix=fix) for row, line in enumerate(lines, 1)]


def keep_lines(file: Path, *, before: int) -> None:
    """Keep the lines of steps below `before`; a last line that a kill truncated is dropped too."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if line.endswith("\n") and step < before:
            kept.append(line)
    write_text(file, "".join(kept))


def projects_of(settings: Logging) -> dict[str, str]:
    """Return the loggers that the recipe enables: package -> project, "" for TensorBoard, which has none."""
    trackers = {"wandb": settings.wandb_project, "trackio": settings.trackio_project}
    found = {package: project for package, project in trackers.items() if project}
    return {"tensorboard": "", **found} if settings.tensorboard else found
