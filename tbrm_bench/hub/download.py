"""Repositories on disk: a model for an engine, or everything that a person asks for, checked file by file.

What is already there is not fetched again, so that the same command resumes after an interruption. Within one command
the client resumes a file whose connection broke; across commands it starts such a file again.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tbrm_bench.errors import MissingPrerequisite, RunFailed, UserError
from tbrm_bench.hub.client import Backoff, explained, make_api, retried
from tbrm_bench.provenance import file_sha256

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

# What an engine needs; a repository may hold other formats of the same weights beside them.
CONFIG_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.py"]
SAFETENSORS_FILES = ["*.safetensors"]
PICKLE_FILES = ["pytorch_model*.bin"]
OFFICIAL_FILES = ("model.safetensors", "model.safetensors.index.json")
OTHER_FOLDERS = ["original/*", "onnx/*", "gguf/*", "runs/*", "checkpoint-*/*"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository on disk; `commit` is the 40 hex digits that the revision stood for."""

    path: Path
    commit: str


def download_model(repo: str, revision: str | None) -> Snapshot:
    """Download what is needed to run a model, or find it in the cache.

    Raises UserError for a repository, revision or permission that is wrong, MissingPrerequisite when the Hub cannot
    be reached and the cache does not hold the model.
    """
    with explained(repo, revision=revision):
        path = _snapshot(repo, revision=revision, allow=CONFIG_FILES + SAFETENSORS_FILES, ignore=OTHER_FOLDERS)
        if not any((path / name).is_file() for name in OFFICIAL_FILES):  # stray safetensors may lie beside pickles
            path = _snapshot(
                repo, revision=revision, allow=CONFIG_FILES + SAFETENSORS_FILES + PICKLE_FILES, ignore=OTHER_FOLDERS
            )
    # The client's cache is <repo>/snapshots/<commit>.
    return Snapshot(path=path, commit=path.name)


@dataclass(frozen=True, slots=True)
class Download:
    """What `download_repo` brought; the counts are of the files that were asked for, new or not."""

    path: Path
    commit: str
    num_files: int
    num_bytes: int


def download_repo(
    repo: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
    include: Sequence[str] = (),
    ignore: Sequence[str] = (),
    local_dir: Path | None = None,
    backoff: Backoff | None = None,
    announce: Callable[[int, int], None] = lambda num_files, num_bytes: None,
) -> Download:
    """Download the files of a revision into the client's cache, or into `local_dir`, and check that they arrived.

    `include` and `ignore` are shell patterns on whole paths; nothing given means everything. `announce` is called
    with how many files and bytes there are before the download starts. Offline, the cache is looked through.

    Raises UserError for a name, revision, pattern or permission that is wrong, MissingPrerequisite without a
    connection, RunFailed when the Hub keeps failing or the disk is full.
    """
    backoff = backoff or Backoff()
    options: dict[str, Any] = {"repo_type": repo_type, "allow": list(include) or None, "ignore": list(ignore) or None}
    with explained(repo, repo_type=repo_type, revision=revision):
        if _is_offline():
            return _from_cache(repo, revision, local_dir, options)
        api = make_api()
        info = retried(lambda: api.repo_info(repo, repo_type=repo_type, revision=revision), backoff=backoff)
        commit = str(info.sha)
        wanted = retried(lambda: _wanted(repo, commit, options), backoff=backoff)
        announce(len(wanted), sum(file.size for file in wanted))
        started = time.time()
        # A branch by its name, so that the cache knows it offline; into a folder the commit, which cannot move.
        name = commit if local_dir else revision
        path = retried(lambda: _snapshot(repo, revision=name, local_dir=local_dir, **options), backoff=backoff)
    if local_dir is None and path.name != commit:
        raise RunFailed(
            f"{repo} moved from {commit[:12]} to {path.name[:12]} during the download; run the same command again"
        )
    _check(path, wanted, before=started if local_dir else None)
    return Download(path, commit, len(wanted), sum(file.size for file in wanted))


def _snapshot(
    repo: str,
    *,
    repo_type: str = "model",
    revision: str | None,
    allow: list[str] | None,
    ignore: list[str] | None,
    local_dir: Path | None = None,
) -> Path:
    from huggingface_hub import constants, snapshot_download

    folder = snapshot_download(
        repo,
        repo_type=repo_type,
        revision=revision,
        allow_patterns=allow,
        ignore_patterns=ignore,
        local_dir=local_dir,
        endpoint=constants.ENDPOINT,
    )
    return Path(folder)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _from_cache(repo: str, revision: str | None, local_dir: Path | None, options: dict[str, Any]) -> Download:
    if local_dir is not None:
        raise MissingPrerequisite(
            f"HF_HUB_OFFLINE is set, so nothing can be downloaded into {local_dir}; unset it, or leave out --local-dir"
        )
    path = _snapshot(repo, revision=revision, **options)
    files = [file for file in path.rglob("*") if file.is_file()]
    return Download(path, path.name, len(files), sum(file.stat().st_size for file in files))


def _wanted(repo: str, commit: str, options: dict[str, Any]) -> list["RepoFile"]:
    from huggingface_hub import RepoFile
    from huggingface_hub.utils._paths import filter_repo_objects

    entries = make_api().list_repo_tree(repo, repo_type=options["repo_type"], revision=commit, recursive=True)
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    patterns = {"allow_patterns": options["allow"], "ignore_patterns": options["ignore"]}
    wanted = list(filter_repo_objects(files, key=lambda file: file.path, **patterns))
    if files and not wanted:
        some = ", ".join(sorted(file.path for file in files)[:4])
        raise UserError(f"no file of {repo} matches --include and --ignore; it holds {some}, ...")
    return wanted


def _check(folder: Path, wanted: Sequence["RepoFile"], *, before: float | None) -> None:
    """Raise RunFailed if a file is missing or another one.

    Sizes are compared; files older than `before` by content too, since the client takes what lies in a folder for
    right when the Hub does not answer it.
    """
    for file in wanted:
        here = folder / file.path
        if not here.is_file():
            raise RunFailed(f"{here} did not arrive; run the same command to resume")
        size = here.stat().st_size
        same = size == file.size and (
            before is None or here.stat().st_mtime >= before or content_oid(here, is_lfs=bool(file.lfs)) == _oid(file)
        )
        if not same:
            raise RunFailed(f"{here} ({size} bytes) is not the {file.size} bytes on the Hub; delete it and try again")


def _oid(file: "RepoFile") -> str:
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def content_oid(file: Path, *, is_lfs: bool) -> str:
    """Return the hash that the Hub lists for a content: SHA-256 of a large file, git's own of any other."""
    if is_lfs:
        return file_sha256(file)
    start = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: start).hexdigest()
