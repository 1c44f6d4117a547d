"""Boards over the Hub's protocol: there and back, nothing twice, nothing lost, nothing incomparable."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hub_client import BACKOFF, loopback_hub
from hub_server import HubServer

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.leaderboard.remote import FRONT, PAGE, files_of, page_of, pull_boards, push_boards
from tbrm_bench.tasks.spec import load_task

REPO = "ann/board"
TOML = 'title = "Toy"\nnotes = "x"\ntasks = ["aime24"]\nagree = ["seed"]\ngrader = "tbrm-"\n'


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path / "server", monkeypatch) as server:
        yield server


def make_board(folder: Path, *names: str, seed: int = 0, correct: int = 1) -> Path:
    rows = folder / "rows" / "toy"
    rows.mkdir(parents=True)
    (folder / "toy.toml").write_text(TOML)
    problems = [str(number) for number in range(load_task("aime24").num_rows)]
    task = {"k": 2, "correct": {**dict.fromkeys(problems, 2), "0": correct}, "cluster": {p: p for p in problems}}
    for name in names:
        row: dict[str, Any] = {
            "schema": 1,
            "name": name,
            "kind": "measured",
            "grader": "tbrm-1",
            "lock": {"seed": seed},
        }
        (rows / f"{name}.json").write_text(json.dumps(row | {"tasks": {"aime24": task}}))
    return folder


def remote_files(hub: HubServer) -> dict[str, bytes]:
    head = hub.store.repos["datasets", REPO].resolve("main")
    assert head is not None
    return {path: hub.store.read(file) for path, file in head.files.items() if path != ".gitattributes"}


def test_there_and_back_and_nothing_twice(hub: HubServer, tmp_path: Path) -> None:
    mine = make_board(tmp_path / "mine", "one", "two")
    done = push_boards(mine, REPO, backoff=BACKOFF)
    assert set(done.files) == {*files_of(mine), PAGE}
    again = push_boards(mine, REPO, backoff=BACKOFF)
    assert (again.files, again.commit) == ((), done.commit)
    assert remote_files(hub)[PAGE].decode() == FRONT + page_of(mine)

    back = tmp_path / "back"
    assert pull_boards(REPO, back, backoff=BACKOFF).files == tuple(files_of(mine))
    assert [(back / path).read_bytes() for path in files_of(back)] == [(mine / p).read_bytes() for p in files_of(mine)]
    assert (back / PAGE).read_text() == page_of(mine)
    assert pull_boards(REPO, back, backoff=BACKOFF).files == ()


def test_both_directions_only_add(hub: HubServer, tmp_path: Path) -> None:
    ann, bob = make_board(tmp_path / "ann", "one"), make_board(tmp_path / "bob", "two")
    push_boards(ann, REPO, backoff=BACKOFF)
    assert set(push_boards(bob, REPO, backoff=BACKOFF).files) == {"rows/toy/two.json", PAGE}
    assert pull_boards(REPO, ann, backoff=BACKOFF).files == ("rows/toy/two.json",)
    assert "two" in (ann / PAGE).read_text()
    assert {"rows/toy/one.json", "rows/toy/two.json"} < set(remote_files(hub))


def test_what_differs_is_refused_by_name_and_replaced_on_demand(hub: HubServer, tmp_path: Path) -> None:
    ann, bob = make_board(tmp_path / "ann", "one"), make_board(tmp_path / "bob", "one", correct=2)
    push_boards(ann, REPO, backoff=BACKOFF)
    before = remote_files(hub)
    with pytest.raises(UserError, match=r"rows/toy/one\.json in ann/board differs from the local file"):
        push_boards(bob, REPO, backoff=BACKOFF)
    with pytest.raises(UserError, match="--replace"):
        pull_boards(REPO, bob, backoff=BACKOFF)
    assert remote_files(hub) == before
    push_boards(bob, REPO, replace=True, backoff=BACKOFF)
    assert remote_files(hub)["rows/toy/one.json"] == (bob / "rows/toy/one.json").read_bytes()
    pull_boards(REPO, ann, replace=True, backoff=BACKOFF)
    assert (ann / "rows/toy/one.json").read_bytes() == (bob / "rows/toy/one.json").read_bytes()


def test_rows_are_checked_together_with_those_that_are_there(hub: HubServer, tmp_path: Path) -> None:
    push_boards(make_board(tmp_path / "ann", "one"), REPO, backoff=BACKOFF)
    before = remote_files(hub)
    other = make_board(tmp_path / "bob", "two", seed=1)
    with pytest.raises(UserError, match="two is not comparable with one on board toy: seed is 1, there 0"):
        push_boards(other, REPO, backoff=BACKOFF)
    with pytest.raises(UserError, match="not comparable"):
        pull_boards(REPO, other, backoff=BACKOFF)
    assert remote_files(hub) == before
    assert files_of(other) == ["rows/toy/two.json", "toy.toml"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grader": "other"}, "one has verdicts by other, board toy asks for tbrm-"),
        ({"k": 1, "correct": {}}, "one has 1 samples per problem of aime24, board toy asks for 2"),
        ({"correct": {"0": 1}}, "one has 1 problems of aime24, the task has 30"),
        ({"scores": {"metric": "avg@k", "mean": {"score": 1.0}}}, "states scores that its counts do not make"),
    ],
)
def test_a_row_that_breaks_a_rule_gets_neither_there_nor_back(
    hub: HubServer, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """Whoever made the row: by hand, or with a program that checks nothing."""
    folder = make_board(tmp_path / "ann", "one")
    (folder / "toy.toml").write_text(TOML + "[min_samples]\naime24 = 2\n")
    push_boards(folder, REPO, backoff=BACKOFF)
    file = folder / "rows" / "toy" / "one.json"
    row = json.loads(file.read_text())
    task, change = row["tasks"]["aime24"], dict(change)
    if "correct" in change:
        task["correct"] = change.pop("correct") or dict.fromkeys(task["cluster"], 1)
        task["cluster"] = {name: name for name in task["correct"]}
    task["k"] = change.pop("k", task["k"])
    file.write_text(json.dumps(row | change))
    with pytest.raises(UserError, match=said):
        push_boards(folder, REPO, replace=True, backoff=BACKOFF)
    repo = hub.store.repos["datasets", REPO]
    repo.commit("main", [("add", "rows/toy/one.json", hub.store.put(file.read_bytes()))], message="", parent=None)
    with pytest.raises(UserError, match=said):
        pull_boards(REPO, tmp_path / "bob", backoff=BACKOFF)
    assert not (tmp_path / "bob").exists()


def test_pushes_at_the_same_time_all_land(hub: HubServer, tmp_path: Path) -> None:
    folders = [make_board(tmp_path / str(number), f"row{number}") for number in range(8)]
    hub.faults.add("POST", "/commit/", status=412)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda folder: push_boards(folder, REPO, backoff=BACKOFF), folders))
    files = remote_files(hub)
    assert {f"rows/toy/row{number}.json" for number in range(8)} < set(files)
    pull_boards(REPO, tmp_path / "all", backoff=BACKOFF)
    assert FRONT + page_of(tmp_path / "all") == files[PAGE].decode()


def test_what_is_missing_is_said(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is not a dataset on the Hub, or is private"):
        pull_boards("ann/nothing", tmp_path / "x", backoff=BACKOFF)
    with pytest.raises(UserError, match="holds no board"):
        push_boards(tmp_path, REPO, backoff=BACKOFF)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingPrerequisite, match="no Hub token"):
        push_boards(make_board(tmp_path / "ann", "one"), REPO, backoff=BACKOFF)
    assert not hub.store.repos
