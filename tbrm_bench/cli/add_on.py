"""Commands of other packages, by entry points of the group `tbrm_bench.commands`; a broken one costs only itself.

[project.entry-points."tbrm_bench.commands"]
train = "tbrm_train.cli.train:train"            a typer.Typer, or a function as typer takes it
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Annotated

import typer

from tbrm_bench import interrupts
from tbrm_bench.errors import MissingPrerequisite


def add_on(app: typer.Typer, entry: EntryPoint) -> None:
    """Register an add-on's command; where that fails, one that gives the reason when it is called."""
    try:
        loaded = entry.load()
        group = loaded if isinstance(loaded, typer.Typer) else typer.Typer()
        if group is not loaded:
            group.command()(loaded)
        typer.main.get_command(group)  # typer would fail at its annotations only when any command is called
    except (Exception, SystemExit) as error:  # whatever the import raises must not end other commands
        if interrupts.received():
            raise
        app.command(
            entry.name,
            help="Not usable: its package does not load.",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True},
        )(_refusal(entry, error))
    else:
        if group is loaded:
            app.add_typer(group, name=entry.name)
        else:
            app.command(entry.name)(loaded)


def _refusal(entry: EntryPoint, error: BaseException) -> Callable[[list[str] | None], None]:
    def refuse(words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        package = entry.dist.name if entry.dist else "its package"
        raise MissingPrerequisite(
            f"the command {entry.name} of {package} does not load ({entry.value}: {type(error).__name__}: {error}); "
            f"reinstall or uninstall {package}"
        ) from error

    return refuse
