"""The Hugging Face Hub, through its own client: the only module that imports huggingface_hub.

The client's environment is respected as it is: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
"""

import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import MissingPrerequisite, UserError

# What an engine needs; a repository may hold other formats of the same weights beside them.
CONFIG_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.py"]
SAFETENSORS_FILES = ["*.safetensors"]
PICKLE_FILES = ["pytorch_model*.bin"]
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
    path = _download(repo, revision, CONFIG_FILES + SAFETENSORS_FILES)
    if not any(path.glob("*.safetensors")):
        path = _download(repo, revision, CONFIG_FILES + PICKLE_FILES)
    # The client's cache is <repo>/snapshots/<commit>.
    return Snapshot(path=path, commit=path.name)


def _download(repo: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import errors, snapshot_download

    name = f"{repo}@{revision}" if revision else repo
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, ignore_patterns=OTHER_FOLDERS))
    except errors.HFValidationError as error:
        raise UserError(f"{name!r} is neither a folder nor a Hub id (owner/name): {_first_line(error)}") from error
    except errors.GatedRepoError as error:
        raise UserError(f"{name} is gated: accept its terms on the Hub, then log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{repo} has no revision {revision!r}; name a branch, tag or commit after '@'") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{repo!r} is not on the Hub, or is private: check the name, or log in with `hf auth login`"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise MissingPrerequisite(
            f"{name} is not in the local cache and the Hub cannot be reached ({_first_line(error)}); "
            "give a local folder with the model, or run again with a connection"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@dataclass(frozen=True, slots=True)
class HubStatus:
    """Whether the Hub can be used from here; a token's value is never kept."""

    endpoint: str
    offline: bool
    reachable: bool
    has_token: bool


def hub_status(*, timeout_s: float = 5.0) -> HubStatus:
    """Ask the Hub for a sign of life, for at most about `timeout_s` seconds; never raises."""
    from huggingface_hub import constants, get_token

    offline = bool(constants.HF_HUB_OFFLINE)
    reachable = not offline and _answers(constants.ENDPOINT, timeout_s)
    return HubStatus(constants.ENDPOINT, offline, reachable, has_token=get_token() is not None)


def _answers(endpoint: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=timeout_s):
            return True
    except urllib.error.HTTPError:
        return True  # it answered, if not kindly
    except (OSError, ValueError):
        return False
