"""Trainings as the command line runs them, in processes that can be killed, the imports paid for once."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "train" / "recipes"
# Four prompts, four samples, four steps: a second of work, and every part of the loop takes part.
TOY = (
    "rollout.engine=hf", "rollout.prompts_per_step=4", "rollout.samples_per_prompt=4", "rollout.max_tokens=40",
    "prompts.num_prompts=24", "prompts.validation=4", "optimizer.steps=4", "evaluation.every=2", "evaluation.samples=1",
    "checkpoints.every=1", "checkpoints.keep_last=8", "optimizer.warmup_steps=0", "optimizer.schedule=constant",
    "deepspeed.num_threads=1",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a training ended."""

    codes: list[int]
    out: str
    err: str


class Runs:
    """A process that forks trainings."""

    def __init__(self) -> None:
        script = Path(__file__).resolve().parents[1] / "support" / "zygote.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.read() == "ready\n"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def train(
        self,
        recipe: str,
        *words: str,
        world_size: int = 1,
        kill: tuple[str, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Run `tbench train` on a shipped recipe at toy size; the words come last and win."""
        words = (str(RECIPES / f"{recipe}.toml"), *TOY, *words)
        return self.tbench_train(words, world_size=world_size, kill=kill, environment=environment)

    def tbench_train(
        self,
        words: Sequence[str],
        *,
        world_size: int = 1,
        kill: tuple[str, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Run `tbench train` with these words."""
        request: dict[str, Any] = {"words": list(words)}
        request |= {"world_size": world_size, "kill": kill, "environment": environment or {}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.read()))


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Return what runs trainings."""
    found = Runs()
    yield found
    found.process.terminate()
    found.process.wait()
