"""What a command prints: data to stdout, messages to stderr, foreign characters visible (`foreign`). The only way out.

A stdout that cannot be written (a full disk, a closed descriptor) is one line and exit code 1, one whose reader left
(`| head`) ends the command quietly; a stderr that cannot be written stops nothing.
"""

import io
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from tbrm_bench.errors import ExitCode, RunFailed
from tbrm_bench.foreign import for_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from typer import Context


def open_streams() -> None:
    """Make both streams print any character, and open those that the caller closed, lest a file of ours become them."""
    for number, name, flags in ((1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:  # to write there fails in stdout's case, and is dropped in stderr's
            _point(number, flags)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
    out, talk = cast("io.TextIOWrapper", sys.stdout), cast("io.TextIOWrapper", sys.stderr)
    talk.reconfigure(errors="backslashreplace")
    sys.stdout = _Stdout(out.buffer, encoding=out.encoding, errors="backslashreplace", line_buffering=out.isatty())
    sys.stdout.first = out  # which would close the buffer if nothing held it


class _Stdout(io.TextIOWrapper):
    """A stdout whose write errors are one line of ours, whoever writes there."""

    first: io.TextIOWrapper

    def write(self, text: str, /) -> int:
        with _named(self):
            return super().write(text)

    def flush(self) -> None:
        with _named(self):
            super().flush()


@contextmanager
def _named(stream: io.TextIOWrapper) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _point(stream.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(ExitCode.FAILED)
        raise RunFailed(f"stdout cannot be written: {error.strerror}; redirect it elsewhere") from None


def say(*lines: object) -> None:
    """Print messages."""
    try:
        print(*map(for_terminal, lines), sep="\n", file=sys.stderr, flush=True)
    except OSError:
        _point(sys.stderr.fileno())


def warn(warning: object) -> None:
    """Print a warning."""
    say(f"warning: {warning}")


def print_data(*lines: object) -> None:
    """Print lines of data."""
    _write("".join(f"{for_terminal(line)}\n" for line in lines))


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print JSON in ASCII, which steers nothing and is the same value."""
    _write(json.dumps(value, indent=indent).replace("\x7f", "\\u007f") + "\n")


def tables() -> "Console":
    """Return the console for tables, on stdout."""
    from tbrm_bench.cli.plain_console import PlainConsole

    return PlainConsole()


def bars() -> "Console":
    """Return the console for progress, on stderr."""
    from tbrm_bench.cli.plain_console import PlainConsole

    return PlainConsole(stderr=True)


def show_help(context: "Context") -> None:
    """Print the help of a group that was called without a command."""
    _write(context.get_help() + "\n")


def word(value: object) -> str:
    """Return a name or path as one word of a command that can be typed: quoted, and no option."""
    return shlex.quote(f"./{value}" if str(value).startswith("-") else str(value))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _point(number: int, flags: int = os.O_WRONLY) -> None:
    """Point a descriptor to /dev/null, so that what a buffer still holds is not written once more at the exit."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)
