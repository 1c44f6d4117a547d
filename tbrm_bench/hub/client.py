"""Calls that retry through the Hub's bad moments, and what its errors mean to a person.

A call is tried again after 408, 429, 5xx, a broken connection or an answer that is not JSON: after 1, 2, 4, ...
seconds, shortened at random so that parallel pushes spread out, or after what Retry-After says. Other errors are final.
"""

import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from tbrm_bench import __version__
from tbrm_bench.disk import user_error
from tbrm_bench.errors import MissingPrerequisite, RunFailed, UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
# What a repository is used for; a download may also come from the cache.
Purpose = Literal["download", "read", "write"]
TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)
# The client itself waits for ever on a server that has stopped answering. Putting the parts of a large file together
# takes a server tens of seconds.
TIMEOUT_S = 180.0
NOT_AN_ID = "not a Hub id; write owner/name, of letters, digits and - . _, without -- or .. (at most 96 characters)"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to retry after errors that pass; `sleep` takes seconds, `tell` a line for a person."""

    num_tries: int = 8
    first_s: float = 1.0
    longest_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = lambda line: None

    def wait(self, attempt: int, *, reason: str, asked_s: float | None = None) -> None:
        """Wait before try number `attempt` + 1; `asked_s` is what the server asked for, and is kept to."""
        delay_s = min(self.longest_s, self.first_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        delay_s = delay_s if asked_s is None else asked_s + delay_s / 8
        self.tell(f"{reason}; trying again in {delay_s:.0f} s")
        self.sleep(delay_s)


def make_api() -> "HfApi":
    """Return the client for the endpoint that is in force now."""
    from huggingface_hub import HfApi, constants, get_session

    get_session().timeout = TIMEOUT_S  # the client's sessions are made anew after some errors
    return HfApi(endpoint=constants.ENDPOINT, library_name="tbrm-bench", library_version=__version__)


def endpoint() -> str:
    """Return the address of the Hub in use."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def require_token() -> None:
    """Raise MissingPrerequisite if no token is found in the usual places."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise MissingPrerequisite(f"no Hub token found; {LOG_IN} (a token with write permission)")


def client_errors() -> tuple[type[Exception], ...]:
    """Return what the client raises: its own errors, its HTTP library's, and OSErrors.

    RuntimeError is how it reports a failed upload; JSONDecodeError is what it makes of an error page.
    """
    from huggingface_hub import errors

    # The base class of the client's errors comes from its HTTP library, whichever that is in this version.
    return (errors.HfHubHTTPError.__mro__[1], errors.HFValidationError, OSError, RuntimeError, json.JSONDecodeError)


def retried(call: Callable[[], T], *, backoff: Backoff) -> T:
    """Return what the call returns; raises its first final error, or the last one when the tries are used up."""
    for attempt in range(1, backoff.num_tries + 1):
        try:
            return call()
        except client_errors() as error:
            if attempt == backoff.num_tries or not is_transient(error):
                raise
            backoff.wait(attempt, reason=_reason(error), asked_s=retry_after(error))
    raise AssertionError("num_tries is at least 1")


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, None if no answer came; looks through wrapped errors."""
    from huggingface_hub import errors

    for inner in _chain(error):
        if isinstance(inner, errors.HfHubHTTPError):
            return int(inner.response.status_code)
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    from huggingface_hub import errors

    status = http_status(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
    if any(isinstance(inner, errors.OfflineModeIsEnabled | errors.LocalTokenNotFoundError) for inner in _chain(error)):
        return False
    passing = (client_errors()[0], ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(inner, passing) or _is_short(inner) for inner in _chain(error))


def _is_short(error: BaseException) -> bool:
    # The client's word for a body that ended early, as a plain OSError.
    return isinstance(error, OSError) and error.errno is None and "Consistency check failed" in str(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)


def _primary(error: BaseException) -> BaseException:
    """Return the error that says most: the first one in the chain that is the client's own."""
    from huggingface_hub import errors

    own = (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.OfflineModeIsEnabled,
        errors.LocalTokenNotFoundError,
    )
    return next((inner for inner in _chain(error) if isinstance(inner, own)), error)


def retry_after(error: BaseException) -> float | None:
    """Return the seconds that the server asked to wait, 600 at most; None if it did not ask."""
    for inner in _chain(error):
        asked = getattr(getattr(inner, "response", None), "headers", {}).get("Retry-After", "")
        if re.fullmatch(r"\d+", asked):
            return min(float(asked), 600.0)
    return None


def _reason(error: BaseException) -> str:
    status = http_status(error)
    return f"the Hub answered {status}" if status else f"the Hub did not answer ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """Return the first line of an error without addresses, which may be signed."""
    lines = str(error).strip().splitlines()
    return re.sub(r"https?://\S+", "...", lines[0])[:200] if lines else type(error).__name__


@contextmanager
def explained(
    repo: str, *, repo_type: str = "model", revision: str | None = None, purpose: Purpose = "download"
) -> Iterator[None]:
    """Turn the client's errors about a repository into one line for a person."""
    try:
        yield
    except UserError:
        raise
    except client_errors() as error:
        raise explain(error, repo, repo_type=repo_type, revision=revision, purpose=purpose) from error


def explain(error: Exception, repo: str, *, repo_type: str, revision: str | None, purpose: Purpose) -> UserError:
    """Return what went wrong with a repository, and the way out."""
    from huggingface_hub import errors

    name = f"{repo}@{revision}" if revision else repo
    cause = _primary(error)
    status = http_status(error)
    if isinstance(cause, errors.HFValidationError):
        return UserError(f"{repo!r} is {NOT_AN_ID}")
    if isinstance(cause, errors.GatedRepoError):
        return UserError(f"{name} is gated: accept its terms on the Hub, then log in with `hf auth login`")
    if isinstance(cause, errors.RevisionNotFoundError):
        return UserError(f"{repo} has no revision {revision!r}; name a branch, tag or commit that it has")
    if isinstance(cause, errors.RepositoryNotFoundError):
        return UserError(
            f"{repo!r} is not a {repo_type} on the Hub, or is private: check the name and --repo-type, or {LOG_IN}"
            if purpose != "write"
            else f"{repo!r} is not on the Hub, or is not yours: check the name, or {LOG_IN}"
        )
    if status == 401:
        return UserError(f"the Hub refused the token (401); {LOG_IN} anew")
    if status == 403:
        what = "write to" if purpose == "write" else "read"
        return UserError(
            f"the token is not allowed to {what} {name} (403); use a token with that permission, or another name"
        )
    if isinstance(cause, errors.LocalTokenNotFoundError):
        return MissingPrerequisite(f"no Hub token found; {LOG_IN}")
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return _unreachable(name, "HF_HUB_OFFLINE is set: unset it", purpose)
    if status is not None:
        return RunFailed(f"the Hub kept answering {status} for {name} ({first_line(error)}); try again later")
    if isinstance(error, OSError) and error.errno is not None and not is_transient(error):
        return user_error(error)
    return _unreachable(name, f"the Hub cannot be reached ({first_line(error)})", purpose)


def _unreachable(name: str, why: str, purpose: Purpose) -> UserError:
    if purpose == "download":
        return MissingPrerequisite(
            f"{name} is not in the local cache and {why}; give a local folder with it, or run again with a connection"
        )
    return MissingPrerequisite(f"{name}: {why}; run again with a connection")


def holds_token(text: str) -> bool:
    """Whether a text holds the token in use, or anything of a Hub token's form."""
    from huggingface_hub import get_token

    token = get_token()
    return bool((token and token in text) or re.search(r"\bhf_[A-Za-z0-9]{30,}", text))


def set_talk(*, bars: bool) -> None:
    """Let the client draw bars or not, and keep its warnings, which say what `Backoff.tell` says, to itself.

    HF_HUB_DISABLE_PROGRESS_BARS and HF_HUB_VERBOSITY, where set, take precedence.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not bars and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
        disable_progress_bars()
    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
