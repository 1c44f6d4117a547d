"""`tbench push` as a person runs it: in a process of its own, pointed at a Hub by the environment."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import READ_TOKEN, TOKEN, client_environment
from hub_runs import content, make_run
from hub_server import HubServer

from tbrm_bench.errors import ExitCode


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.add_user("ann", token=TOKEN)
        server.add_user("ann", token=READ_TOKEN, can_write=False)
        yield server


def tbench(
    hub: HubServer, folder: Path, *words: object, token: str | None = TOKEN, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", *map(str, words)],
        env=client_environment(hub, folder, token=token) | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    for secret in (TOKEN, READ_TOKEN):
        assert secret not in done.stdout + done.stderr
    return done


def test_there_and_back(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("aime24",))
    hub.store.create("models", "ann/model")
    hub.faults.add("POST", "/commit/", status=412)
    pushed = tbench(hub, tmp_path, "push", run, "ann/first", "--eval-results", "ann/model")
    assert pushed.returncode == ExitCode.DONE
    page = f"{hub.url}/datasets/ann/first"
    assert pushed.stdout.splitlines() == [page, f"{hub.url}/ann/model/discussions/1"]  # data, and nothing else
    assert "trying again" in pushed.stderr
    assert f"next: tbench pull ann/first RUN --run {run.name}" in pushed.stderr
    assert "\r" not in pushed.stderr  # no bars off a terminal
    proposal = hub.store.repos["models", "ann/model"].resolve("refs/pr/1")
    assert proposal is not None
    assert page.encode() in hub.store.read(proposal.files[".eval_results/run.yaml"])

    again = tbench(hub, tmp_path, "push", run, "ann/first", "--json")
    assert json.loads(again.stdout)["uploaded"] == []

    pulled = tbench(hub, tmp_path, "pull", "ann/first", tmp_path / "back")
    assert pulled.returncode == ExitCode.DONE
    assert pulled.stdout == f"{tmp_path / 'back'}\n"
    assert content(tmp_path / "back") == content(run)
    assert (tmp_path / "back" / "results.json").read_bytes() == (run / "results.json").read_bytes()


def test_a_dry_run_needs_neither_token_nor_network(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("aime24",))
    words = ("push", run, "ann/dry", "--dry-run", "--eval-results", "ann/model")
    done = tbench(hub, tmp_path, *words, token=None, HF_HUB_OFFLINE="1")
    assert done.returncode == ExitCode.DONE
    rows = [line.split(maxsplit=1) for line in done.stdout.partition("  bytes in")[0].splitlines()]
    sizes = {path: int(number.replace(",", "")) for number, path in (row for row in rows if len(row) == 2)}
    assert ".eval_results/run.yaml, as a pull request" in done.stdout
    pushed = tbench(hub, tmp_path, "push", run, "ann/dry", "--json")
    assert {file["path"]: file["bytes"] for file in json.loads(pushed.stdout)["uploaded"]} == sizes


def test_what_is_wrong_is_one_line_and_an_exit_code(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for words, token, code, message in [
        (("push", run, "ann/x"), None, ExitCode.MISSING, "no Hub token found; log in with `hf auth login`"),
        (("push", run, "ann/x"), READ_TOKEN, ExitCode.USAGE, "not allowed to write to ann/x (403)"),
        (("pull", "ann/nothing", tmp_path / "y"), TOKEN, ExitCode.USAGE, "is not a dataset on the Hub, or is private"),
    ]:
        done = tbench(hub, tmp_path, *words, token=token)
        assert done.returncode == code
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
    assert ("datasets", "ann/x") not in hub.store.repos


def test_offline_says_so(hub: HubServer, tmp_path: Path) -> None:
    done = tbench(hub, tmp_path, "push", make_run(tmp_path / "run"), "ann/x", HF_HUB_OFFLINE="1")
    assert done.returncode == ExitCode.MISSING
    assert done.stderr == "error: ann/x: HF_HUB_OFFLINE is set: unset it; run again with a connection\n"
