"""stdout, stderr and signals of real processes: one line, the right exit code, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "a\x1b[31mb\x07\u202e[bold]c\x9b"
COMMAND = [sys.executable, "-m", "tbrm_bench"]
PRINTING = [["board", "show"], ["--help"], ["tasks", "list", "--json"], ["tasks", "show", "arithmetic"], ["--version"]]


def tbench(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], stderr=subprocess.PIPE, text=True, **{"stdout": subprocess.PIPE, **options}
    )


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_stdout_that_is_full_or_closed_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = tbench(*words, stdout=full)
    closed = tbench(*words, stdout=None, preexec_fn=lambda: os.close(1))
    for ended in (done, closed):
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: stdout cannot be written: ")
        assert ended.stderr.count("\n") == 1


def test_a_reader_that_left_is_no_error_to_speak_of() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = tbench("board", "show", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("how", ["full", "closed"])
def test_a_stderr_that_cannot_be_written_changes_nothing(how: str) -> None:
    def close() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2) if how == "full" else os.close(2)

    done = subprocess.run([*COMMAND, "board", "show", "--json"], stdout=subprocess.PIPE, preexec_fn=close)
    assert done.returncode == 0
    assert json.loads(done.stdout)["board"] == "tbrm6"
    assert subprocess.run([*COMMAND, "show", "nosuch"], stdout=subprocess.PIPE, preexec_fn=close).stdout == b""


def test_ascii_prints_all_tables() -> None:
    done = tbench("board", "show", env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "+-" in done.stdout
    assert done.stdout.isascii()


def test_foreign_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    words = [["show", HOSTILE], ["eval", HOSTILE, "--task", HOSTILE], [HOSTILE], ["board", "show", "--board", HOSTILE]]
    for command in words:
        done = tbench(*command, cwd=tmp_path)
        assert done.returncode != 0
        assert "\\x1b[31mb" in done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e\x9b")


def start(*words: str, setup: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whatever the tests' own parent ignores
            signal.signal(number, signal.SIG_DFL)
        if setup is not None:
            setup()

    # Each import is a line on stderr: a moment to count on.
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=prepare)


def send_at(process: subprocess.Popen[str], number: int, mark: str) -> tuple[int, list[str]]:
    """Send the signal when the line `mark` comes; return the exit code and what the command said itself."""
    said, sent = [], False
    assert process.stderr is not None
    for line in process.stderr:
        if mark in line and not sent:
            process.send_signal(number)
            sent = True
        if not line.startswith("import time:"):
            said.append(line)
    assert sent
    return process.wait(), said


@pytest.mark.parametrize("mark", ["tbrm_bench.errors", "typer._click.core", "tbrm_bench.cli.board"])
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGTERM, 143, "interrupted by SIGTERM\n"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP\n"),
    ],
)
def test_a_signal_during_the_imports_is_one_line(number: int, code: int, line: str, mark: str) -> None:
    assert send_at(start("board", "show"), number, mark) == (code, [line])


def test_what_nohup_ignores_stays_ignored() -> None:
    process = start("board", "show", setup=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert send_at(process, signal.SIGHUP, "typer._click.core") == (0, [])


SCRIPT = """
import os, signal, sys, tempfile, subprocess
from tbrm_bench import interrupts
interrupts.install()
child = os.fork()
if not child:
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
    os._exit(0)
os.waitpid(child, 0)
try:
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        print("ready", flush=True)
        signal.pause()
except KeyboardInterrupt:
    print(interrupts.received().name, os.listdir(sys.argv[1]), flush=True)
    os.kill(os.getpid(), signal.SIGHUP)  # one more changes nothing
    print("done", flush=True)
"""


def test_the_way_out_cleans_up_once_and_children_are_as_ever(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "SIGTERM []\ndone\n"
    assert process.wait() == 0
