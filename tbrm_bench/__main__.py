"""Where `tbench` and `python -m tbrm_bench` begin: signals first, so that Ctrl-C ends the imports like all else."""

import signal
import sys

from tbrm_bench import interrupts


def main() -> None:
    """Run the command line and leave with an exit code of `ExitCode`."""
    try:
        interrupts.install()
        from tbrm_bench.cli.talk import open_streams

        open_streams()
        from tbrm_bench.cli.app import main as run_command

        run_command()
    except BaseException:
        # On its way out an interrupt may become another error, of an import or a library, or an exit of typer's.
        number = interrupts.received()
        if number is None:
            raise
        from tbrm_bench.cli.talk import say
        from tbrm_bench.errors import ExitCode

        say("interrupted" if number == signal.SIGINT else f"interrupted by {number.name}")
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends at once whatever still waits at the exit
        sys.exit(ExitCode(128 + number))


if __name__ == "__main__":
    main()
