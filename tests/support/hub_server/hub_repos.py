"""Repositories of the test Hub: commits that are whole or not there, blobs by their hash, branches, pull requests.

    store = HubStore(folder)
    repo = store.create("datasets", "ann/evals", private=True)
    repo.commit("main", [("add", "README.md", store.put(b"# Hello"))], message="first", parent=repo.branches["main"])

A blob is a file in `folder` named by its SHA-256, so that the server's memory stays small. A commit is one new object
put in place under a lock: a reader sees the state before it or the state after it.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


class Conflict(Exception):
    """The branch has moved on since the commit that the client started from."""


class MissingBlob(Exception):
    """A commit names a large file that was not uploaded."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of one file. `is_lfs` decides which of the two hashes the client sees as its identity."""

    sha256: str
    git_oid: str
    size: int
    is_lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_oid


@dataclass(frozen=True, slots=True)
class Commit:
    """One state of a repository."""

    oid: str
    parent: str | None
    message: str
    files: Mapping[str, Blob]


@dataclass(slots=True)
class PullRequest:
    num: int
    title: str
    description: str
    branch: str
    author: str


# ("add", path, blob) or ("delete", path, None); a path that ends in "/" is a folder.
Change = tuple[str, str, Blob | None]


@dataclass(slots=True)
class Repo:
    """One repository; every method that changes it holds the store's lock."""

    kind: str  # models or datasets
    name: str
    private: bool
    gated: bool
    lock: threading.RLock
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: list[PullRequest] = field(default_factory=list)

    def resolve(self, revision: str) -> Commit | None:
        """Return the commit of a branch, tag or hash."""
        with self.lock:
            oid = self.branches.get(revision) or self.tags.get(revision) or revision
            return self.commits.get(oid)

    def history(self, branch: str = "main") -> list[Commit]:
        """Return the commits of a branch, the newest first."""
        found: list[Commit] = []
        oid: str | None = self.branches[branch]
        while oid is not None:
            found.append(self.commits[oid])
            oid = found[-1].parent
        return found

    def commit(self, branch: str, changes: Sequence[Change], *, message: str, parent: str | None) -> Commit:
        """Add a commit to a branch; Conflict if `parent` is given and is not the branch's head."""
        with self.lock:
            head = self.branches.get(branch)
            if parent is not None and parent != head:
                raise Conflict(f"{branch} is at {head}, not at {parent}")
            files = dict(self.commits[head].files) if head else {}
            for action, path, blob in changes:
                if action == "add":
                    assert blob is not None
                    files[path] = blob
                else:
                    files = {name: old for name, old in files.items() if not _is_below(name, path)}
            listing = "\n".join(f"{name} {blob.sha256}" for name, blob in sorted(files.items()))
            oid = hashlib.sha1(f"{head}\n{len(self.commits)}\n{message}\n{listing}".encode()).hexdigest()
            self.commits[oid] = Commit(oid, head, message, MappingProxyType(files))
            self.branches[branch] = oid
            return self.commits[oid]

    def open_pull_request(self, title: str, description: str, author: str, base: str) -> PullRequest:
        """Open a pull request whose branch starts where `base` is."""
        with self.lock:
            num = len(self.pull_requests) + 1
            request = PullRequest(num, title, description, f"refs/pr/{num}", author)
            self.branches[request.branch] = self.branches[base]
            self.pull_requests.append(request)
            return request


def _is_below(name: str, path: str) -> bool:
    return name.startswith(path) if path.endswith("/") else name == path


class HubStore:
    """All repositories and all blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.repos: dict[tuple[str, str], Repo] = {}

    def create(self, kind: str, name: str, *, private: bool = False, gated: bool = False) -> Repo:
        """Create a repository with its first commit, as the Hub does; KeyError if the name is taken."""
        with self.lock:
            if (kind, name) in self.repos:
                raise KeyError(name)
            repo = Repo(kind, name, private, gated, self.lock)
            attributes = self.put(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n")
            repo.commit("main", [("add", ".gitattributes", attributes)], message="initial commit", parent=None)
            self.repos[kind, name] = repo
            return repo

    def put(self, content: bytes, *, is_lfs: bool = False) -> Blob:
        """Store a content; the same one twice is one file."""
        sha256 = hashlib.sha256(content).hexdigest()
        git_oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        file = self.folder / sha256
        if not file.exists():
            draft = file.with_name(f"{sha256}.{threading.get_ident()}")
            draft.write_bytes(content)
            draft.replace(file)
        return Blob(sha256, git_oid, len(content), is_lfs)

    def lfs_blob(self, sha256: str) -> Blob:
        """Return an uploaded large file; MissingBlob if it is not there."""
        file = self.folder / sha256
        if not file.is_file():
            raise MissingBlob(sha256)
        return Blob(sha256, hashlib.sha1(f"pointer {sha256}".encode()).hexdigest(), file.stat().st_size, is_lfs=True)

    def read(self, blob: Blob) -> bytes:
        """Return the content of a blob."""
        return (self.folder / blob.sha256).read_bytes()
