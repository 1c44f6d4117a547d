"""Downloads through the real client: every byte, nothing twice, and one line for whatever can go wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import BACKOFF, OTHER_TOKEN, READ_TOKEN, TOKEN, loopback_hub
from hub_repos import Repo
from hub_server import HubServer
from huggingface_hub import constants

from tbrm_bench.errors import ExitCode, MissingPrerequisite, RunFailed, UserError
from tbrm_bench.hub import Backoff, Download, HubRepo, Upload, download_model, download_repo
from tbrm_bench.hub.client import holds_token

REPO = "ann/model"
# A sharded model, and the raw shards of a training run beside it.
FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "model-00001-of-00002.safetensors": bytes(range(256)) * 400,
    "model-00002-of-00002.safetensors": bytes(range(255, -1, -1)) * 300,
    "global_step_10/actor/model_world_size_2_rank_0.pt": b"rank 0" * 1000,
    "global_step_10/actor/model_world_size_2_rank_1.pt": b"rank 1" * 1000,
    "empty.txt": b"",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path, monkeypatch, page_size=3) as server:
        add_files(server, server.store.create("models", REPO, private=True), FILES)
        yield server


def add_files(server: HubServer, repo: Repo, files: dict[str, bytes], branch: str = "main") -> None:
    large = (".safetensors", ".pt")
    changes = [("add", path, server.store.put(data, is_lfs=path.endswith(large))) for path, data in files.items()]
    repo.commit(branch, changes, message="files", parent=None)


def download(repo: str = REPO, **options: object) -> Download:
    return download_repo(repo, backoff=BACKOFF, **options)  # type: ignore[arg-type]


def found(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    named = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    return {name: data for name, data in named.items() if not name.startswith((".cache", ".gitattributes"))}


@pytest.mark.parametrize("into_folder", [True, False])
def test_every_file_arrives_and_the_second_time_none(hub: HubServer, tmp_path: Path, into_folder: bool) -> None:
    folder = tmp_path / "model" if into_folder else None
    announced: list[tuple[int, int]] = []
    done = download(local_dir=folder, announce=lambda *counts: announced.append(counts))
    assert found(done.path) == FILES
    assert done.commit == hub.store.repos["models", REPO].branches["main"]
    assert done.num_files == len(FILES) + 1  # .gitattributes
    assert announced == [(done.num_files, done.num_bytes)]
    hub.log.clear()
    assert download(local_dir=folder) == done
    assert hub.downloads() == []


def test_the_token_stays_with_the_hub(hub: HubServer, tmp_path: Path) -> None:
    download(local_dir=tmp_path / "model")
    storage = [entry for entry in hub.log if "/storage/" in entry.path]
    assert len(storage) == 4
    assert not any(entry.has_token for entry in storage)
    assert all(entry.has_token for entry in hub.log if "/resolve/" in entry.path)


def test_patterns_choose_and_none_that_match_is_an_error(hub: HubServer, tmp_path: Path) -> None:
    done = download(local_dir=tmp_path / "a", include=["*.safetensors", "*.json"], ignore=["*-00002-*"])
    assert set(found(done.path)) == {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"}
    with pytest.raises(UserError, match=r"no file of ann/model matches.*it holds \.gitattributes, config\.json"):
        download(local_dir=tmp_path / "b", include=["*.gguf"])


def test_a_broken_connection_is_gone_on_from_where_it_broke(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what the client keeps of a broken answer
    hub.faults.add("GET", "/storage/", kind="half", times=3)
    assert found(download(local_dir=tmp_path / "model").path) == FILES
    parts = [entry.range for entry in hub.log if entry.range]
    assert len(parts) == 3
    assert all(part.startswith("bytes=") and part != "bytes=0-" for part in parts)


@pytest.mark.parametrize("kind", ["slow", "cut", "lost"])
def test_bad_connections_cost_time_only(hub: HubServer, tmp_path: Path, kind: str) -> None:
    for path in ("/api/models/", "/tree/", "/resolve/", "/storage/"):
        hub.faults.add("GET", path, kind=kind, times=2)  # type: ignore[arg-type]
    assert found(download(local_dir=tmp_path / "model").path) == FILES


@pytest.mark.parametrize("path", ["/api/models/", "/tree/", "/resolve/", "/storage/"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_waited_for(hub: HubServer, tmp_path: Path, path: str, status: int) -> None:
    hub.faults.add("", path, status=status, times=2, headers={"Retry-After": "0"})
    assert found(download(local_dir=tmp_path / "model").path) == FILES


def test_after_a_failure_only_what_is_missing_is_fetched(hub: HubServer, tmp_path: Path) -> None:
    last = hub.store.repos["models", REPO].resolve("main")
    assert last is not None
    broken = last.files["model-00002-of-00002.safetensors"].sha256
    hub.faults.add("GET", f"/storage/{broken}", status=500, times=10_000)
    with pytest.raises(RunFailed, match="kept answering 500 for ann/model"):
        download(local_dir=tmp_path / "model")
    hub.faults.clear()
    hub.log.clear()
    assert found(download(local_dir=tmp_path / "model").path) == FILES
    assert f"/storage/{broken}" in [entry.path for entry in hub.downloads()]
    assert len(hub.downloads()) < len(FILES)


def test_a_folder_is_brought_up_to_date_and_never_taken_for_it(hub: HubServer, tmp_path: Path) -> None:
    repo = hub.store.repos["models", REPO]
    folder = download(local_dir=tmp_path / "model").path
    add_files(hub, repo, {"config.json": b"[]"})  # of the same size
    # The client would take what lies there when the Hub does not answer; we do not.
    for path in ("/api/models/", "/tree/", "/resolve/"):
        hub.faults.add("", path, status=503, times=10_000)
        with pytest.raises((RunFailed, MissingPrerequisite)):
            download_repo(REPO, local_dir=folder, backoff=Backoff(num_tries=1))
        hub.faults.clear()
    download(local_dir=folder)
    assert found(folder) == FILES | {"config.json": b"[]"}


def test_a_file_that_was_changed_by_hand_is_noticed(hub: HubServer, tmp_path: Path) -> None:
    folder = download(local_dir=tmp_path / "model").path
    shard = folder / "model-00001-of-00002.safetensors"
    old = shard.stat()
    shard.write_bytes(shard.read_bytes()[::-1])
    os.utime(shard, (old.st_atime, old.st_mtime))  # even if its time says nothing
    with pytest.raises(RunFailed, match="delete it and try again"):
        download(local_dir=folder)
    shard.unlink()
    assert found(download(local_dir=folder).path) == FILES


def failure(kind: type[UserError], repo: str = REPO, **options: object) -> str:
    """Return the one line that a download fails with."""
    with pytest.raises(kind) as error:
        download(repo, **options)
    message = str(error.value)
    assert type(error.value) is kind
    assert "\n" not in message
    assert not holds_token(message)
    return message


def test_each_refusal_has_its_line_and_its_way_out(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.store.create("models", "ann/gated", gated=True)
    assert "no revision 'v9'" in failure(UserError, revision="v9")
    assert "no revision" in failure(UserError, revision="0" * 40)
    assert "'ann/nothing' is not a model on the Hub" in failure(UserError, "ann/nothing")
    assert "--repo-type" in failure(UserError, repo_type="dataset")
    assert "'a/b/c' is not a Hub id; write owner/name" in failure(UserError, "a/b/c")
    monkeypatch.setenv("HF_TOKEN", OTHER_TOKEN)
    assert "is private: check the name and --repo-type, or log in" in failure(UserError)
    assert "gated: accept its terms" in failure(UserError, "ann/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    assert "the Hub refused the token (401); log in" in failure(UserError)
    monkeypatch.delenv("HF_TOKEN")
    assert "log in with `hf auth login`, or set HF_TOKEN" in failure(UserError)


def test_a_hub_that_cannot_be_reached_is_a_missing_prerequisite(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = failure(MissingPrerequisite)
    assert "cannot be reached" in message
    assert MissingPrerequisite.exit_code == ExitCode.MISSING


def test_offline_means_the_cache_or_a_clear_line(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = download()
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download() == done
    assert "HF_HUB_OFFLINE is set" in failure(MissingPrerequisite, "ann/other")
    assert "leave out --local-dir" in failure(MissingPrerequisite, local_dir=tmp_path / "x")
    assert hub.log == []


def test_a_model_is_downloaded_without_what_an_engine_does_not_read(hub: HubServer) -> None:
    snapshot = download_model(REPO, None)
    wanted = {name for name in FILES if "/" not in name}
    assert set(found(snapshot.path)) == wanted
    assert snapshot.commit == hub.store.repos["models", REPO].branches["main"]
    with pytest.raises(UserError, match="has no revision 'v9'"):
        download_model(REPO, "v9")
    add_files(hub, hub.store.create("models", "ann/old"), {"config.json": b"{}", "pytorch_model.bin": b"1"})
    assert set(found(download_model("ann/old", "main").path)) == {"config.json", "pytorch_model.bin"}


def test_a_read_token_cannot_write(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = HubRepo(REPO, repo_type="model", backoff=BACKOFF)
    head = remote.head()
    assert head is not None
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(UserError, match="the token is not allowed to write to ann/model"):
        remote.commit(head, uploads=[Upload("a", b"1")], deletions=[], message="x")
    with pytest.raises(UserError, match="the token is not allowed to write to ann/new"):
        HubRepo("ann/new", repo_type="dataset", backoff=BACKOFF).ensure(private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingPrerequisite, match="no Hub token found; log in"):
        remote.commit(head, uploads=[Upload("a", b"1")], deletions=[], message="x")
    assert TOKEN not in repr(remote.__dict__)


def test_what_the_server_asks_for_is_what_is_waited(hub: HubServer) -> None:
    waits: list[float] = []
    lines: list[str] = []
    patient = Backoff(sleep=waits.append, tell=lines.append)
    hub.faults.add("GET", "/api/models/", status=429, headers={"Retry-After": "17"})
    hub.faults.add("GET", "/api/models/", status=503, times=3)
    HubRepo(REPO, repo_type="model", backoff=patient).head()
    assert 17 <= waits[0] < 18
    assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits) if i] == [True] * 3
    assert lines[0].startswith("the Hub answered 429; trying again in 17")
