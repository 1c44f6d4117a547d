"""`tbench`: the commands, and how every one of them ends.

A command parses, calls one function and renders. Data go to stdout, talk goes to stderr. Whatever a person can fix
arrives here as a UserError and leaves as one line and an exit code (see `errors`).
"""

import importlib.metadata
import sys
import traceback
from types import TracebackType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tbrm_bench import __version__
from tbrm_bench.cli import board, compare, doctor, download, explain, grade, merge, pull, push, show, tasks
from tbrm_bench.cli import eval as evaluate
from tbrm_bench.cli.add_on import add_on
from tbrm_bench.cli.talk import print_data, say, show_help
from tbrm_bench.disk import user_error
from tbrm_bench.errors import ExitCode, UserError, missing_extra

app = typer.Typer(
    name="tbench",
    help="Measure checkpoints on maths benchmarks, with error bars that tell a gain from noise.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("eval")(evaluate.evaluate)
app.command("show")(show.show)
app.command("grade")(grade.grade)
app.command("explain")(explain.explain)
app.command("compare")(compare.compare)
app.command("merge")(merge.merge)
app.command("download")(download.download)
app.command("push")(push.push)
app.command("pull")(pull.pull)
app.add_typer(board.app, name="board")
app.add_typer(tasks.app, name="tasks")
app.command("doctor")(doctor.doctor)
# Add-ons register themselves: the bench never imports the trainer.
for entry in importlib.metadata.entry_points(group="tbrm_bench.commands"):
    add_on(app, entry)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_data(f"tbench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        show_help(context)
        raise typer.Exit(ExitCode.USAGE)


def _message(error: TyperException) -> str:
    """Return what is wrong with a command line, in our words where a value is of another type."""
    message, cause = error.format_message(), error.__cause__
    if cause is None or not hasattr(cause, "errors"):
        return message
    wrong = cause.errors()[0]  # of pydantic, by which typer converts
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(wrong["type"].split("_")[0])
    return f"{message.partition(': ')[0]}: {wrong['input']!r} is not {wanted}" if wanted else message


def main() -> None:
    """Run the command line and leave with an exit code of `ExitCode`; a signal's exception passes (`__main__`)."""
    sys.excepthook = _say_traceback
    try:
        code = app(prog_name="tbench", standalone_mode=False) or ExitCode.DONE
        sys.stdout.flush()  # while an error still has its line
        sys.exit(code)
    except (UserError, TyperException) as error:
        if "--debug" in sys.argv:
            raise
        message = _message(error) if isinstance(error, TyperException) else str(error)
        say(f"error: {' '.join(message.split())}")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:  # a light installation: every command but `grade --jsonl` needs an extra
        needed = missing_extra(error)
        if needed is None or "--debug" in sys.argv:
            raise
        say(f"error: {needed}")
        sys.exit(needed.exit_code)
    except OSError as error:  # the last net: no path or disk ends a command with a traceback
        if "--debug" in sys.argv:
            raise
        found = user_error(error)
        say(f"error: {found}")
        sys.exit(found.exit_code)


def _say_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    say(*"".join(traceback.format_exception(kind, error, trace)).splitlines())
