"""`tbench eval --push`: the run arrives, and what would stop the push is said before anything is generated."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import READ_TOKEN, TOKEN, client_environment
from hub_runs import content
from hub_server import HubServer

from tbrm_bench.errors import ExitCode

WORDS = ("eval", "builtin:tiny", "--engine", "hf", "--limit", "2", "--samples", "1", "--max-tokens", "8")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.add_user("ann", token=TOKEN)
        server.add_user("ann", token=READ_TOKEN, can_write=False)
        yield server


def tbench(hub: HubServer, folder: Path, *words: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", *words],
        cwd=folder,
        env=client_environment(hub, folder, token=token) | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("repo", "token", "code", "said"),
    [
        ("ann/run", None, ExitCode.MISSING, "no Hub token found"),
        ("run", TOKEN, ExitCode.USAGE, "has no owner"),
        ("ann/a b", TOKEN, ExitCode.USAGE, "not a Hub id"),
    ],
)
def test_what_stops_the_push_is_said_first(
    hub: HubServer, tmp_path: Path, repo: str, token: str | None, code: ExitCode, said: str
) -> None:
    done = tbench(hub, tmp_path, *WORDS, "--out", "run", "--push", repo, token=token)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # two processes that load an engine
def test_the_run_is_kept_when_the_push_fails_and_pushed_by_the_same_command(hub: HubServer, tmp_path: Path) -> None:
    words = (*WORDS, "--out", "run", "--push", "ann/run")
    refused = tbench(hub, tmp_path, *words, token=READ_TOKEN)
    assert refused.returncode == ExitCode.USAGE, refused.stderr
    assert "to push it, run: tbench push run ann/run" in refused.stderr
    assert (tmp_path / "run" / "results.json").is_file()
    assert ("datasets", "ann/run") not in hub.store.repos

    pushed = tbench(hub, tmp_path, *words, "--json")
    assert pushed.returncode == ExitCode.DONE, pushed.stderr
    assert pushed.stdout == (tmp_path / "run" / "results.json").read_text()  # stdout holds data and nothing else
    assert f"pushed: {hub.url}/datasets/ann/run" in pushed.stderr
    assert tbench(hub, tmp_path, "pull", "ann/run", "back").returncode == ExitCode.DONE
    assert content(tmp_path / "back") == content(tmp_path / "run")
