"""Boards of one's own: the shipped ones are only read, names get a file each, two that add wait for each other."""

import fcntl
import json
import os
from pathlib import Path

import pytest
from hub_runs import make_run
from typer.testing import CliRunner, Result

from tbrm_bench.cli.app import app
from tbrm_bench.leaderboard import add, board
from tbrm_bench.leaderboard.rows import slug
from tbrm_bench.tasks.spec import load_task

TOML = 'title = "Toy"\nnotes = "x"\ntasks = ["arithmetic"]\nagree = ["tasks.*.temperature"]\ngrader = "tbrm-"\n'


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "toy.toml").write_text(TOML)
    monkeypatch.setattr(board, "data_dir", lambda name: folder)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> str:
    num_rows = load_task("arithmetic").num_rows
    return str(make_run(tmp_path / "run", tasks=("arithmetic",), num_problems=num_rows, num_samples=2))


def tbench(*words: str) -> Result:
    return CliRunner().invoke(app, ["board", *words])


def test_a_row_never_goes_into_the_package(shipped: Path, run: str) -> None:
    done = tbench("add", run, "--board", "toy", "--name", "mine")
    assert done.exit_code == 0, done.output
    assert done.stdout == "boards/rows/toy/mine.json\n"
    assert "its definition was copied to boards/toy.toml" in done.stderr
    assert [path.name for path in shipped.rglob("*")] == ["toy.toml"]
    assert (Path("boards") / "toy.toml").read_text() == TOML
    shown = tbench("show", "--board", "toy", "--json")
    assert [row["name"] for row in json.loads(shown.stdout)["rows"]] == ["mine"]
    assert f"--board=toy --dir {shipped}" in shown.stderr
    assert "copied" not in tbench("add", run, "--board", "toy", "--name", "again").stderr
    assert tbench("render").stdout == "boards/README.md\n"


def test_a_refused_row_writes_nothing(shipped: Path, run: str) -> None:
    assert tbench("add", run, "--board", "toy", "--name", "mine").exit_code == 0
    before = sorted(Path("boards").rglob("*"))
    assert "has a row 'mine' already" in str(tbench("add", run, "--board", "toy", "--name", "mine").exception)
    assert sorted(Path("boards").rglob("*")) == before


def test_the_shipped_page_is_not_written(shipped: Path) -> None:
    assert "--dir" in str(tbench("render").exception)
    assert not (shipped / "README.md").exists()


def test_what_is_to_be_typed_next_can_be_typed(shipped: Path, run: str) -> None:
    folder = Path("my boards")
    folder.mkdir()
    (folder / "-x.toml").write_text(TOML)
    done = tbench("add", run, "--board=-x", "--dir", str(folder))
    assert done.exit_code == 0, done.output
    assert "next: tbench board show --board=-x --dir 'my boards'\n" in done.stderr
    assert tbench("show", "--board=-x", "--dir", str(folder)).exit_code == 0


def test_names_have_files_of_their_own() -> None:
    names = ["数学", "模型", "数学-7b", "模型-7b", "модель", "модéль", "7b", "", "x" * 300, "x" * 301, "Mine, step 2"]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("Mine, step 2") == "mine-step-2"  # as in files that are there
    assert all(len(slug(name)) < 120 for name in names)


def test_the_rows_are_read_and_written_under_one_lock(shipped: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def try_lock(*_: object) -> None:
        descriptor = os.open("boards/.lock", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        checked.append(True)

    monkeypatch.setattr(add, "check_agreement", try_lock)
    assert tbench("add", run, "--board", "toy").exit_code == 0
    assert checked
