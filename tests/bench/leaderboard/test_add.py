"""A pushed run on a board, through the real client: the row says where its samples lie, every mistake is one line."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_client import BACKOFF, OTHER_TOKEN, client_environment, loopback_hub
from hub_runs import make_run
from hub_server import HubServer
from typer.testing import CliRunner

from tbrm_bench.cli.app import app
from tbrm_bench.errors import UserError
from tbrm_bench.leaderboard.add import add_run, row_of_run
from tbrm_bench.leaderboard.board import Board, load_board
from tbrm_bench.leaderboard.page import page, samples_url
from tbrm_bench.leaderboard.row_page import row_page
from tbrm_bench.leaderboard.rows import read_rows
from tbrm_bench.publish import push_run
from tbrm_bench.tasks.spec import load_task

REPO = "ann/results"
NUM_ROWS = load_task("arithmetic").num_rows
TOML = 'title = "Toy"\nnotes = "x"\ntasks = ["arithmetic"]\nagree = ["tasks.*.temperature"]\ngrader = "tbrm-"\n'


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path / "server", monkeypatch) as server:
        yield server


@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "toy.toml").write_text(TOML + "[min_samples]\narithmetic = 2\n")
    return load_board("toy", tmp_path)


def pushed(folder: Path, *, name: str = "one", k: int = 2, num_problems: int = NUM_ROWS, skip: int = 0) -> Path:
    run = make_run(folder / name, tasks=("arithmetic",), num_problems=num_problems, num_samples=k, skip=skip)
    push_run(run, REPO, backoff=BACKOFF)
    return run


def test_a_pushed_run_makes_the_row_of_the_local_one_and_links_its_samples(
    hub: HubServer, board: Board, tmp_path: Path
) -> None:
    local = pushed(tmp_path / "runs")
    head = hub.store.repos["datasets", REPO].resolve("main")
    assert head is not None
    file = add_run(board, REPO, backoff=BACKOFF)
    row = json.loads(file.read_text())
    row_samples = row.pop("samples")
    assert row_samples == {"repo": REPO, "commit": head.oid, "run": "one"}
    assert row == row_of_run(board, local)
    (read,) = read_rows(board)
    url = f"https://huggingface.co/datasets/{REPO}/tree/{head.oid}/data/arithmetic/one"
    assert samples_url(read, "arithmetic") == url
    assert f'href="{url}"' in row_page(board, read, (1, 1))
    assert f"[samples](https://huggingface.co/datasets/{REPO}/tree/{head.oid}/data)" in page([(board, [read])])
    for odd in ("../../login", "ann/results/../..", "ann", 'ann/"onmouseover=', ""):
        assert samples_url(replace(read, about={"samples": row_samples | {"repo": odd}}), "arithmetic") is None
    assert any(path.startswith("data/arithmetic/one/") for path in head.files)


def test_one_of_several_at_an_older_revision(hub: HubServer, board: Board, tmp_path: Path) -> None:
    pushed(tmp_path / "runs")
    older = hub.store.repos["datasets", REPO].resolve("main")
    assert older is not None
    pushed(tmp_path / "runs", name="two", k=3)
    with pytest.raises(UserError, match="holds 2 runs; choose one with --run: one, two"):
        add_run(board, REPO, backoff=BACKOFF)
    with pytest.raises(UserError, match="did you mean 'two'"):
        add_run(board, REPO, pushed_run="tow", backoff=BACKOFF)
    add_run(board, REPO, pushed_run="two", name="the second", backoff=BACKOFF)
    add_run(board, f"{REPO}@{older.oid}", name="the first", backoff=BACKOFF)
    rows = {row.name: row for row in read_rows(board)}
    assert {name: row.about["samples"]["run"] for name, row in rows.items()} == {
        "the first": "one",
        "the second": "two",
    }
    assert rows["the first"].about["samples"]["commit"] == older.oid
    assert rows["the second"].tasks["arithmetic"].k == 3


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"k": 1}, "one in ann/results has 1 samples per problem of arithmetic, board toy asks for 2"),
        ({"num_problems": 7}, "one in ann/results has 7 problems of arithmetic"),
        ({"skip": 1}, "one in ann/results: .* have a verdict; finish the run"),
    ],
)
def test_a_run_that_breaks_a_rule_is_refused_and_leaves_nothing(
    hub: HubServer, board: Board, tmp_path: Path, made: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    pushed(tmp_path / "runs", **made)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with pytest.raises(UserError, match=said) as caught:
        add_run(board, REPO, backoff=BACKOFF)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not board.rows_dir.exists()


def test_a_run_of_another_schema_version_is_refused(hub: HubServer, board: Board, tmp_path: Path) -> None:
    pushed(tmp_path / "runs")
    repo = hub.store.repos["datasets", REPO]
    head = repo.resolve("main")
    assert head is not None
    for file in ("run.json", "manifest.json"):
        content = json.loads(hub.store.read(head.files[f"runs/one/{file}"])) | {"schema": 9}
        blob = hub.store.put(json.dumps(content).encode())
        repo.commit("main", [("add", f"runs/one/{file}", blob)], message="", parent=None)
        with pytest.raises(UserError, match="schema 9, this version reads 1"):
            add_run(board, REPO, backoff=BACKOFF)
        repo.commit("main", [("add", f"runs/one/{file}", head.files[f"runs/one/{file}"])], message="", parent=None)
    assert add_run(board, REPO, backoff=BACKOFF).exists()


def test_names_that_lead_nowhere_are_one_line(hub: HubServer, board: Board, tmp_path: Path) -> None:
    for run, said in [
        ("ann/nothing", "'ann/nothing' is not a dataset on the Hub, or is private"),
        ("ann/re sults", "neither a run directory nor a dataset"),
        ("runs/2026/one", "neither a run directory nor a dataset"),
        ("one", "neither a run directory nor a dataset"),
        ("ann/a--b", "'ann/a--b' is not a Hub id"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            add_run(board, run, backoff=BACKOFF)
        assert "\n" not in str(caught.value)
    pushed(tmp_path / "runs")
    with pytest.raises(UserError, match="has no revision 'gone'"):
        add_run(board, f"{REPO}@gone", backoff=BACKOFF)
    with pytest.raises(UserError, match="chooses among those of a repository"):
        add_run(board, str(tmp_path / "runs" / "one"), pushed_run="one")


def test_a_private_repository_is_not_there_for_others(
    hub: HubServer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(tmp_path / "runs")
    for token in (None, OTHER_TOKEN):
        if token is None:
            monkeypatch.delenv("HF_TOKEN")
        else:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match="is not a dataset on the Hub, or is private: check the name, or log in"):
            add_run(board, REPO, backoff=BACKOFF)


def test_the_command_asks_the_hub(hub: HubServer, board: Board, tmp_path: Path) -> None:
    pushed(tmp_path / "runs")
    words = ["board", "add", f"{REPO}@main", "--run", "one", "--board", "toy", "--dir", str(board.folder)]
    done = CliRunner().invoke(app, words, env=client_environment(hub, tmp_path))
    assert done.exit_code == 0, done.output
    assert json.loads(Path(done.stdout.split()[0]).read_text())["samples"]["run"] == "one"
    assert "asking the Hub" in done.stderr
