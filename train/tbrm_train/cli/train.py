"""`tbench train RECIPE`: found by the bench through the entry-point group `tbrm_bench.commands`."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tbrm_bench.cli.talk import bars, print_data, say, warn, word
from tbrm_bench.errors import MissingExtra, UserError
from tbrm_train.cli.train_compare import compare

if TYPE_CHECKING:
    from tbrm_train.recipes.rl_recipe import RlRecipe
    from tbrm_train.run.loop import Step

ONE_TRAINING = "RECIPE"
SHOWN = ("reward", "validation/avg", "loss", "grad_norm", "entropy", "tokens/mean", "cap_rate")


def _first_words(incomplete: str) -> list[str]:
    """Return what the Tab key offers behind `tbench train`: a command, shipped recipes, TOML files and folders."""
    from tbrm_train.recipes.shipped import shipped_recipes

    names = [word for word in ("compare", *shipped_recipes()) if word.startswith(incomplete)]
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    paths = [f"{path}/" if path.is_dir() else str(path) for path in sorted(folder.glob("[!.]*"))]
    return names + [path for path in paths if path.startswith(incomplete) and path.endswith(("/", ".toml"))]


class RecipeOrCommand(TyperGroup):
    """A group whose first word may also be a recipe, which runs the hidden command RECIPE."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Pass everything that is no other command to the training."""
        if args and args[0] in self.commands and args[0] != ONE_TRAINING:
            return super().make_context(info_name, args, parent, **extra)
        return self.commands[ONE_TRAINING].make_context(info_name, args, parent, **extra)


train = typer.Typer(
    cls=RecipeOrCommand, help="Train a model by a recipe, or compare algorithms: tbench train compare --help."
)
train.command("compare")(compare)


@train.command(
    ONE_TRAINING,
    hidden=True,
    epilog="To compare algorithms under one recipe: tbench train compare --help",
    context_settings={"ignore_unknown_options": True},
)
def train_recipe(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE", help="A recipe in TOML, or the name of a shipped one.", autocompletion=_first_words
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values that override the recipe.")
    ] = None,
) -> None:
    """Train a model by a recipe and write Hugging Face folders; run the same command to resume."""
    from tbrm_train.recipes.rl_rules import recipe_kind
    from tbrm_train.recipes.shipped import find_recipe

    words = overrides or []
    _refuse_options([str(recipe), *words])
    recipe = find_recipe(recipe)
    # torch prints start-up notices directly to stderr.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    output = _train_rl(recipe, words) if recipe_kind(recipe, words) == "rl" else _train_sft(recipe, words)
    if output is not None:
        say(f"next: tbench eval {word(output)}")
        print_data(output)


def _refuse_options(words: list[str]) -> None:
    """Raise UserError that shows how to write an option as KEY=VALUE."""
    for given, after in zip(words, [*words[1:], "VALUE"], strict=True):
        if given.startswith("-"):
            option, separator, value = given.partition("=")
            key = option.lstrip("-").replace("-", "_")
            raise UserError(f"No such option: {option}; write {key}={value if separator else after}")


def _train_sft(path: Path, overrides: list[str]) -> Path:
    from tbrm_bench.files import check_free
    from tbrm_train.recipes.sft_recipe import load_recipe

    checked = load_recipe(path, overrides)
    check_free(Path(checked.output))
    _need("torch", "transformers", "tokenizers", "safetensors")
    # torch and transformers are loaded only now: a mistake in the recipe is reported at once.
    from tbrm_train.sft.supervised import train as train_sft

    return train_sft(checked, _log_to_stderr(checked.optimizer.steps))


def _train_rl(path: Path, overrides: list[str]) -> Path | None:
    from tbrm_bench.report.loggers import require_loggers
    from tbrm_train.output.checkpoint import is_finished, last_checkpoint, locked, open_output, point_best
    from tbrm_train.output.hub_push import pushing
    from tbrm_train.output.metrics_log import projects_of
    from tbrm_train.recipes.rl_rules import load_rl_recipe
    from tbrm_train.run.task_scores import is_scored

    recipe = load_rl_recipe(path, overrides)
    if int(os.environ.get("RANK", "0")) > 0:
        return _run(recipe, lambda step: None)
    open_output(recipe)
    with locked(Path(recipe.output)):
        last = last_checkpoint(Path(recipe.output))
        if last is not None and is_finished(recipe, last) and is_scored(recipe, last.path):
            _check_finished(recipe)
            point_best(Path(recipe.output))
            say(f"{recipe.output} is already trained to step {last.step}")
            with pushing(recipe, warn):  # what earlier starts could not push
                return last.path
        if last is not None:
            say(f"resuming from {last.path}")
        require_loggers(projects_of(recipe.logging))
        with _live_table() as observer:
            return _run(recipe, observer)


def _check_finished(recipe: "RlRecipe") -> None:
    """Raise UserError if a finished training had other inputs; warn if they cannot be read any more."""
    from tbrm_train.output.inputs import check_same, read_inputs

    output = Path(recipe.output)
    stored = read_inputs(output)
    if stored is None:
        return
    try:
        _need("torch", "transformers")
        from tbrm_train.run.session import load_given

        found = load_given(recipe).inputs()
    except UserError as error:
        warn(f"{output} is finished, but its inputs cannot be checked: {error}")
        return
    check_same(output, stored, found)


def _run(recipe: "RlRecipe", observer: "Callable[[Step], None]") -> Path | None:
    """Train; return the last checkpoint in the first process, None in the others."""
    _need("torch", "transformers", "deepspeed")
    if recipe.deepspeed.num_threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(recipe.deepspeed.num_threads)
        # vLLM on a CPU would bind its threads to cores, which is slow next to other processes.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from tbrm_train.run.loop import train as train_rl

    path = train_rl(recipe, observer, warn)
    return path if int(os.environ.get("RANK", "0")) == 0 else None


def _need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "train")


def _log_to_stderr(num_steps: int) -> Callable[[int, float], None]:
    every = max(1, num_steps // 20)

    def log(step: int, loss: float) -> None:
        if step % every == 0 or step == num_steps - 1:
            say(f"step {step + 1}/{num_steps}  loss {loss:.4f}")

    return log


@contextmanager
def _live_table() -> "Iterator[Callable[[Step], None]]":
    """Show the last steps as a table on a terminal, one line per step elsewhere."""
    from rich.live import Live
    from rich.table import Table

    console = bars()
    if not console.is_terminal:
        yield lambda step: say(_line(step))
        return
    steps: list[Step] = []

    def table(title: str) -> Table:
        shown = Table(title=title)
        for name in ("step", *SHOWN, "seconds"):
            shown.add_column(name, justify="right")
        for step in steps[-12:]:
            shown.add_row(str(step.step), *(_cell(step, name) for name in SHOWN), f"{_seconds(step):.1f}")
        return shown

    with Live(table("loading"), console=console, auto_refresh=False) as live:

        def observe(step: "Step") -> None:
            if not step.note:
                steps.append(step)
            live.update(table(step.note or f"step {step.step} of {step.num_steps}"), refresh=True)

        yield observe


def _line(step: "Step") -> str:
    if step.note:
        return step.note
    cells = "  ".join(f"{name} {_cell(step, name)}" for name in SHOWN if name in step.metrics)
    return f"step {step.step}/{step.num_steps}  {cells}  {_seconds(step):.1f} s"


def _cell(step: "Step", name: str) -> str:
    return f"{step.metrics[name]:.4g}" if name in step.metrics else ""


def _seconds(step: "Step") -> float:
    return sum(value for name, value in step.timings.items() if name.startswith("seconds/"))
