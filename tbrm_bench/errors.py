"""The error model of the project.

Five kinds of trouble, five ways to meet it:

- **A bad sample is data.** An empty completion, a truncated one, an answer that hangs the parser: each becomes a
  `Grade` with its own status and is counted. Nothing is raised.
- **A mistake that a person can fix** raises `UserError`: one line that names what is wrong, the two values that
  disagree and the way out. The command line prints it as `error: ...` without a traceback (`--debug` shows it).
- **Something that is missing** (an extra, a GPU, the network) raises `MissingExtra` or
  `MissingPrerequisite`, which are UserErrors with an exit code of their own.
- **A signal** (Ctrl-C, SIGTERM, SIGHUP) is a KeyboardInterrupt, cleans up and ends with its own code (`interrupts`).
- **A mistake of ours** is an `assert` or whatever Python raises; it is never caught and turned into a score.
"""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the shell sees."""

    DONE = 0
    FAILED = 1  # ran, but failed or is incomplete
    USAGE = 2  # bad usage or configuration
    MISSING = 3  # a missing prerequisite: an extra, a device, the network
    HUNG_UP = 129  # SIGHUP: the terminal was closed
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM; as shells count, 128 and the signal's number


class UserError(Exception):
    """A problem that the user can fix; the message is one line: what, the two values that disagree, the fix."""

    exit_code: ExitCode = ExitCode.USAGE


class RunFailed(UserError):
    """The work started and could not be finished (disk full, a run that is incomplete); what was done is kept."""

    exit_code = ExitCode.FAILED


class MissingPrerequisite(UserError):
    """Something outside the project is missing: a GPU, the network, a file of the system."""

    exit_code = ExitCode.MISSING


class MissingExtra(MissingPrerequisite):
    """A package of an optional extra is not installed; the message is the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: {install_line(extra)}")


# What the extra `bench` brings, as it is imported: the grader alone needs none of it.
BENCH_EXTRA = "bench"
BENCH_MODULES = ("numpy", "scipy", "huggingface_hub", "datasets", "jinja2", "pyarrow", "yaml", "isal")


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return what to install for an import that failed in a light installation; None if it is no extra's."""
    package = (error.name or "").partition(".")[0]
    return MissingExtra(package, BENCH_EXTRA) if package in BENCH_MODULES else None


def install_line(extra: str) -> str:
    """Return the command that installs an extra: that of the clone which is running, else that of the package."""
    is_clone = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
    return f"pip install -e '.[{extra}]'" if is_clone else f"pip install 'tbrm-bench[{extra}]'"
