"""`tbench train RECIPE`: found by the bench through the entry-point group `tbrm_bench.commands`."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tbrm_bench.errors import MissingExtra


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in TOML.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values in place of the recipe's.")
    ] = None,
) -> None:
    """Train a model by a recipe and write a Hugging Face folder."""
    from tbrm_train.folder import check_free
    from tbrm_train.recipe import load_recipe

    checked = load_recipe(recipe, overrides or [])
    check_free(Path(checked.output))
    for package in ("torch", "transformers", "tokenizers", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "train")
    # torch and transformers are loaded only now: a mistake in the recipe is told at once. torch prints its start-up
    # notes past Python's stderr.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from tbrm_train.sft import train as train_sft

    output = train_sft(checked, _log_to_stderr(checked.optimizer.steps))
    print(f"next: tbench eval {output}", file=sys.stderr)
    print(output)


def _log_to_stderr(num_steps: int) -> Callable[[int, float], None]:
    every = max(1, num_steps // 20)

    def log(step: int, loss: float) -> None:
        if step % every == 0 or step == num_steps - 1:
            print(f"step {step + 1}/{num_steps}  loss {loss:.4f}", file=sys.stderr)

    return log
