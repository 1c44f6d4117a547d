"""Whether the Hub can be used from here, for `tbench doctor`."""

import urllib.error
import urllib.request
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubStatus:
    """Whether the Hub can be used from here; a token's value is never stored."""

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
