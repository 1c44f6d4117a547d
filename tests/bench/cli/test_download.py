"""`tbench download` as a person runs it: the path on stdout, talk on stderr, an exit code."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import TOKEN, client_environment
from hub_server import HubServer

from tbrm_bench.errors import ExitCode

SHARD = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.add_user("ann", token=TOKEN)
        repo = server.store.create("models", "ann/model", private=True)
        shard = server.store.put(SHARD, is_lfs=True)
        config = server.store.put(b"{}")
        repo.commit("main", [("add", "m.safetensors", shard), ("add", "config.json", config)], message="", parent=None)
        yield server


def download(hub: HubServer, home: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tbrm_bench", "download", *map(str, words)],
        env=client_environment(hub, home) | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


def test_the_path_is_what_is_printed(hub: HubServer, tmp_path: Path) -> None:
    into = download(hub, tmp_path, "ann/model", "--local-dir", tmp_path / "model", "--include", "*.safetensors")
    assert into.returncode == ExitCode.DONE
    assert into.stdout == f"{tmp_path / 'model'}\n"
    assert (tmp_path / "model" / "m.safetensors").read_bytes() == SHARD
    assert not (tmp_path / "model" / "config.json").exists()
    assert "ann/model: 1 files, 10.2 kB" in into.stderr

    commit = hub.store.repos["models", "ann/model"].branches["main"]
    facts = json.loads(download(hub, tmp_path, f"ann/model@{commit}", "--ignore", ".git*", "--json").stdout)
    assert facts == {"path": facts["path"], "commit": commit, "files": 2, "bytes": len(SHARD) + 2}
    assert (Path(facts["path"]) / "m.safetensors").read_bytes() == SHARD


def test_what_is_wrong_is_one_line_and_an_exit_code(hub: HubServer, tmp_path: Path) -> None:
    for words, environment, code, message in [
        (("ann/model@v9", "--revision", "v8"), {}, ExitCode.USAGE, "names the revision 'v9' and --revision 'v8'"),
        (("ann/model",), {"HF_TOKEN": "hf_wrong"}, ExitCode.USAGE, "refused the token (401)"),
        (("ann/model",), {"HF_HUB_OFFLINE": "1"}, ExitCode.MISSING, "HF_HUB_OFFLINE is set"),
    ]:
        done = download(hub, tmp_path / "elsewhere", *words, **environment)
        assert done.returncode == code
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
