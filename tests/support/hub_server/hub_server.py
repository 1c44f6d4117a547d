"""A Hub on loopback that the real client talks to: repositories, commits, large files, pull requests, tokens, faults.

    with HubServer(tmp_path) as hub:
        hub.add_user("ann", token="hf_ann")
        os.environ |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ann", "HF_HUB_DISABLE_XET": "1"}

Checked against huggingface_hub 2.4.0, whose sources say what is asked and what is read of each answer, and 1.4.0; see
also https://huggingface.co/docs/hub/api. It speaks what `tbench download`, `push` and `pull` cause: whoami,
repos/create, validate-yaml, info and tree of a revision with pages, refs, branches, preupload, LFS batch with single
and multi-part uploads and verify, commit as NDJSON with `parentCommit` and `create_pr`, discussions, and resolve with
ETag, X-Repo-Commit, X-Linked-* and a redirect to another host, to which no token may be sent. Xet storage is not
spoken; HF_HUB_DISABLE_XET keeps the client from it.
"""

import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from hub_api import HubApi
from hub_faults import Faults
from hub_http import Handler, Request, Response
from hub_repos import HubStore


@dataclass(frozen=True, slots=True)
class User:
    """Whom a token stands for; it may write to its own name and to its organizations, unless it is read-only."""

    name: str
    orgs: tuple[str, ...] = ()
    can_write: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as it came in, without its body."""

    method: str
    path: str
    num_bytes: int
    has_token: bool
    host: str
    range: str


class HubServer(ThreadingHTTPServer):
    """The server; `store`, `faults` and `log` are what tests look at."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, *, part_size: int | None = None, page_size: int = 1000) -> None:
        """Serve on a free port of 127.0.0.1. Files above `part_size` bytes are uploaded in parts."""
        super().__init__(("127.0.0.1", 0), Handler)
        folder.mkdir(parents=True, exist_ok=True)
        self.store = HubStore(folder)
        self.faults = Faults()
        self.users: dict[str, User] = {}
        self.log: list[Entry] = []
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # The same socket under another name is another origin to the client.
        self.storage_url = f"http://localhost:{self.port}"
        self._api = HubApi(self.store, self.url, self.storage_url, self.users, part_size, page_size)
        # The default poll of half a second is how long every test would wait for the end.
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def add_user(self, name: str, *, token: str, orgs: tuple[str, ...] = (), can_write: bool = True) -> None:
        """Make a token valid."""
        self.users[token] = User(name, orgs, can_write)

    def note(self, request: Request) -> None:
        """Keep what tests ask about."""
        has_token = "authorization" in request.headers
        host, part = request.headers.get("host", ""), request.headers.get("range", "")
        self.log.append(Entry(request.method, request.raw_path, len(request.body), has_token, host, part))

    def handle(self, request: Request) -> Response:
        """Answer a request that no fault has struck."""
        return self._api.handle(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""

    def downloads(self) -> list[Entry]:
        """Return the requests that asked for content."""
        return [
            entry
            for entry in self.log
            if entry.method == "GET" and ("/resolve/" in entry.path or "/storage/" in entry.path)
        ]

    def uploads(self) -> list[Entry]:
        """Return the requests that carried content: large files and commits."""
        return [entry for entry in self.log if entry.method == "PUT" or "/commit/" in entry.path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self.server_close()
