"""One repository that is written to: its head, and commits on top of that head and of no other.

    remote = HubRepo("ann/results", repo_type="dataset")
    head = remote.head()                                          None if there is no such repository
    remote.commit(head, uploads=[Upload("a.txt", b"1")], deletions=[], message="...")    HubMoved if another was first

No part of a commit is visible before all of it is. A commit whose answer was lost may have landed: whoever catches
HubMoved looks at the new head, and finds nothing left to do.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tbrm_bench.errors import UserError
from tbrm_bench.hub.client import (
    NOT_AN_ID,
    Backoff,
    Purpose,
    client_errors,
    explained,
    http_status,
    is_transient,
    make_api,
    require_token,
    retried,
    retry_after,
)
from tbrm_bench.hub.download import content_oid

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, RepoFile

MAIN = "main"
# The Hub says so when the head is not the one that a commit was made for, or when it is busy with another commit.
MOVED_STATUSES = (409, 412)


class HubMoved(Exception):
    """The commit was not made, or nobody can say: another one was first, or the answer did not come."""

    def __init__(self, reason: str, *, asked_s: float | None = None) -> None:
        super().__init__(reason)
        self.asked_s = asked_s  # what the Hub asked to wait


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a commit; `oid` is the SHA-256 of a large file and git's hash of any other."""

    path: str
    size: int
    oid: str
    is_large: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What a branch holds."""

    commit: str
    is_private: bool
    files: Mapping[str, RemoteFile] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be: where in the repository, and its content in memory or on disk."""

    path: str
    content: bytes | Path = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def is_same(self, remote: RemoteFile | None) -> bool:
        """Whether the repository holds this content already."""
        if remote is None or remote.size != self.size:
            return False
        if isinstance(self.content, Path):
            return content_oid(self.content, is_lfs=remote.is_large) == remote.oid
        if remote.is_large:
            return hashlib.sha256(self.content).hexdigest() == remote.oid
        blob = b"blob %d\0" % len(self.content) + self.content
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == remote.oid


class HubRepo:
    """A repository by its name; every method raises UserError, MissingPrerequisite or RunFailed with one line."""

    def __init__(self, repo: str, *, repo_type: str, branch: str | None = None, backoff: Backoff | None = None) -> None:
        """Check the name; nothing is asked of the Hub yet."""
        self.repo = checked_repo_id(repo)
        self.repo_type = repo_type
        self.branch = branch or MAIN
        self.backoff = backoff or Backoff()

    @property
    def url(self) -> str:
        """The page of the repository."""
        from huggingface_hub import constants

        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{constants.ENDPOINT}/{prefix}{self.repo}"

    def head(self) -> Head | None:
        """Return the state of the branch, None if there is no repository (or none that the token may see)."""
        from huggingface_hub import RepoFile, errors

        api = make_api()
        with self._explained():
            try:
                info = retried(self._info, backoff=self.backoff)
            except errors.GatedRepoError:
                raise
            except errors.RepositoryNotFoundError:
                return None
            commit = str(info.sha)

            def listed() -> list[RepoFile]:
                entries = api.list_repo_tree(self.repo, repo_type=self.repo_type, revision=commit, recursive=True)
                return [entry for entry in entries if isinstance(entry, RepoFile)]

            files = {file.path: _remote(file) for file in retried(listed, backoff=self.backoff)}
        return Head(commit, bool(info.private), files)

    def ensure(self, *, private: bool) -> None:
        """Create the repository and the branch unless they exist; what exists is not changed."""
        from huggingface_hub import errors

        require_token()
        api = make_api()
        with self._explained("write"):
            try:
                retried(lambda: api.repo_info(self.repo, repo_type=self.repo_type), backoff=self.backoff)
            except errors.RepositoryNotFoundError:
                retried(
                    lambda: api.create_repo(self.repo, repo_type=self.repo_type, private=private, exist_ok=True),
                    backoff=self.backoff,
                )
            if self.branch == MAIN:
                return
            refs = retried(lambda: api.list_repo_refs(self.repo, repo_type=self.repo_type), backoff=self.backoff)
            if self.branch not in (ref.name for ref in refs.branches):
                retried(
                    lambda: api.create_branch(self.repo, branch=self.branch, repo_type=self.repo_type, exist_ok=True),
                    backoff=self.backoff,
                )

    def read(self, head: Head, patterns: Sequence[str]) -> Path:
        """Return the client's cache folder with the files of this head that match the patterns."""
        from huggingface_hub import constants, snapshot_download

        with self._explained():
            folder = retried(
                lambda: snapshot_download(
                    self.repo,
                    repo_type=self.repo_type,
                    revision=head.commit,
                    allow_patterns=list(patterns),
                    endpoint=constants.ENDPOINT,
                ),
                backoff=self.backoff,
            )
        return Path(folder)

    def commit(self, head: Head, *, uploads: Sequence[Upload], deletions: Sequence[str], message: str) -> str:
        """Make one commit on top of `head` and return its hash; raises HubMoved, see the module's docstring."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        require_token()
        additions = [CommitOperationAdd(upload.path, upload.content) for upload in uploads]
        removals = [CommitOperationDelete(path, is_folder=False) for path in deletions]
        with self._explained("write"):
            self._upload(additions)
            return self._commit(head, additions, removals, message)

    def propose(self, uploads: Sequence[Upload], *, message: str, description: str) -> str:
        """Open a pull request with these files and return its address.

        It is not retried when the answer is lost, since it may be open: see `open_proposals`.
        """
        from huggingface_hub import CommitOperationAdd

        require_token()
        with self._explained("write"):
            done = make_api().create_commit(
                self.repo,
                [CommitOperationAdd(upload.path, upload.content) for upload in uploads],
                commit_message=message,
                commit_description=description,
                repo_type=self.repo_type,
                create_pr=True,
            )
        return str(done.pr_url)

    def open_proposals(self, title: str) -> list[str]:
        """Return the addresses of the open pull requests with this title."""
        api = make_api()

        def found() -> list[str]:
            rows = api.get_repo_discussions(
                self.repo, repo_type=self.repo_type, discussion_type="pull_request", discussion_status="open"
            )
            return [row.url for row in rows if row.title == title]

        with self._explained():
            return retried(found, backoff=self.backoff)

    def _info(self) -> Any:
        return make_api().repo_info(self.repo, repo_type=self.repo_type, revision=self.branch)

    def _upload(self, additions: "list[CommitOperationAdd]") -> None:
        """Upload the large files to the Hub's storage; the repository itself does not change."""
        api = make_api()
        retried(
            lambda: api.preupload_lfs_files(
                self.repo, additions, repo_type=self.repo_type, revision=self.branch, free_memory=False
            ),
            backoff=self.backoff,
        )

    def _commit(
        self,
        head: Head,
        additions: "list[CommitOperationAdd]",
        removals: "list[CommitOperationDelete]",
        message: str,
    ) -> str:
        try:
            done = make_api().create_commit(
                self.repo,
                [*additions, *removals],
                commit_message=message,
                repo_type=self.repo_type,
                revision=self.branch,
                parent_commit=head.commit,
            )
        except client_errors() as error:
            status = http_status(error)
            if status in MOVED_STATUSES or is_transient(error):
                reason = f"the Hub answered {status}" if status else "the Hub's answer was lost"
                raise HubMoved(reason, asked_s=retry_after(error)) from error
            raise
        return str(done.oid)

    def _explained(self, purpose: Purpose = "read") -> AbstractContextManager[None]:
        revision = None if self.branch == MAIN else self.branch
        return explained(self.repo, repo_type=self.repo_type, revision=revision, purpose=purpose)


def checked_repo_id(repo: str) -> str:
    """Return the id; raises UserError unless it is owner/name as the Hub allows it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo!r} is {NOT_AN_ID}") from error
    if repo.count("/") != 1:
        raise UserError(f"{repo!r} has no owner; give owner/name")
    return repo


def _remote(file: "RepoFile") -> RemoteFile:
    if file.lfs:
        return RemoteFile(file.path, file.lfs.size, file.lfs.sha256, is_large=True)
    return RemoteFile(file.path, file.size, file.blob_id, is_large=False)
