"""Commands of other packages: a broken one costs one line and only itself. Completion knows all of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode

MODULES = {
    "good": "def hello(name: str) -> None: print('hello', name)",
    "raises": "raise RuntimeError('needs\\n[red]CUDA 99')",
    "leaves": "raise SystemExit(7)",
    "empty": "",
    "number": "command = 7",
    "unread": "def command(words: 'Nowhere') -> None: ...",
    "syntax": "def",
}
ENTRIES = {
    "good": "good:hello",
    "gone": "no_such_module:command",
    "raises": "raises:command",
    "leaves": "leaves:command",
    "nameless": "empty:command",
    "number": "number:command",
    "unread": "unread:command",
    "syntax": "syntax:command",
}
BROKEN = {
    "gone": "ModuleNotFoundError: No module named 'no_such_module'",
    "raises": "RuntimeError: needs [red]CUDA 99",
    "leaves": "SystemExit: 7",
    "nameless": "AttributeError",
    "number": "AttributeError",
    "unread": "NameError",
    "syntax": "SyntaxError",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages whose distribution `extras` registers one command that works and seven that do not."""
    folder = tmp_path_factory.mktemp("packages")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text + "\n")
    about = folder / "extras-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: extras\nVersion: 1.0\n")
    entries = "".join(f"{name} = {value}\n" for name, value in ENTRIES.items())
    (about / "entry_points.txt").write_text(f"[tbrm_bench.commands]\n{entries}")
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "tbrm_bench", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "120"} | environment,
    )


@pytest.mark.parametrize("words", [("tasks", "list"), ("--version",), ("train", "--help"), ("good", "you")])
def test_every_other_command_works(packages: Path, words: tuple[str, ...]) -> None:
    done = run(packages, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert words[0] != "good" or done.stdout == "hello you\n"


def test_help_lists_what_is_not_usable(packages: Path) -> None:
    done = run(packages, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    unusable = [line.split()[1] for line in done.stdout.splitlines() if "Not usable" in line]
    assert sorted(unusable) == sorted(BROKEN)


@pytest.mark.parametrize(("name", "reason"), BROKEN.items())
def test_a_broken_one_gives_its_reason_in_one_line(packages: Path, name: str, reason: str) -> None:
    words = ("--help",) if name == "gone" else ("--lr", "3", "recipe.toml")
    done = run(packages, name, *words)
    assert (done.returncode, done.stdout) == (ExitCode.MISSING, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: the command {name} of extras does not load ({ENTRIES[name]}: ")
    assert reason in line
    assert line.endswith("reinstall or uninstall extras")


def test_debug_shows_where_it_broke(packages: Path) -> None:
    done = run(packages, "--debug", "raises")
    assert done.returncode != 0
    assert "raises.py" in done.stderr


def test_the_shells_are_told_every_command(packages: Path, tmp_path: Path) -> None:
    """The printed script is what completion runs; its answers need no more than the names."""
    shell = f"{sys.executable} -m tbrm_bench --show-completion; exit $?"  # `exit`, lest bash becomes tbench
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete -o default -F _tbench_completion tbench" in done.stdout
    assert "_TBENCH_COMPLETE=complete_bash" in done.stdout
    done = run(packages, _TBENCH_COMPLETE="complete_bash", COMP_WORDS="tbench e", COMP_CWORD="1")
    assert (done.stdout.split(), done.stderr) == (["eval", "explain"], "")
    done = run(packages, _TBENCH_COMPLETE="complete_bash", COMP_WORDS="tbench grade --js", COMP_CWORD="2")
    assert (done.stdout.split(), done.stderr) == (["--json", "--jsonl"], "")
    installed = subprocess.run(
        ["bash", "-c", shell.replace("--show", "--install")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert installed.returncode == 0
    assert ".bash_completions/tbench.sh" in (tmp_path / ".bashrc").read_text()
