"""The real client in this process, pointed at a test Hub; and the same for commands in processes of their own.

huggingface_hub reads its environment when it is imported, so that here its constants are set instead. Its waits of
whole seconds are shortened: what it does between them is its own.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.file_download
import huggingface_hub.utils._http
import pytest
from hub_server import HubServer
from huggingface_hub import constants

from tbrm_bench.hub import Backoff

TOKEN = "hf_" + "annasecret" * 4
OTHER_TOKEN = "hf_" + "bobssecret" * 4
READ_TOKEN = "hf_" + "readsecret" * 4
BACKOFF = Backoff(first_s=0.01, longest_s=0.05, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


@contextmanager
def loopback_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, part_size: int | None = None, page_size: int = 1000
) -> Iterator[HubServer]:
    """Yield a server with the users ann and bob; the client of this process talks to it as ann."""
    with HubServer(folder / "hub", part_size=part_size, page_size=page_size) as server:
        server.add_user("ann", token=TOKEN, orgs=("lab",))
        server.add_user("bob", token=OTHER_TOKEN)
        server.users[READ_TOKEN] = server.users[TOKEN].__class__("ann", (), can_write=False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        quick = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.01))})
        monkeypatch.setattr(huggingface_hub.utils._http, "time", quick)
        monkeypatch.setattr(huggingface_hub.file_download, "time", quick)
        try:
            yield server
        finally:
            huggingface_hub.close_session()


def client_environment(server: HubServer, folder: Path, *, token: str | None = TOKEN) -> dict[str, str]:
    """Return the environment in which a command finds the server as any user would point it there."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    mine = {"HF_ENDPOINT": server.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "NO_COLOR": "1"}
    return keep | mine | ({"HF_TOKEN": token} if token else {})
