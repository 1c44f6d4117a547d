"""What the commands that talk to the Hub share: a backoff that reports what it waits for."""

import sys
from typing import TYPE_CHECKING

from tbrm_bench.cli.talk import say

if TYPE_CHECKING:
    from tbrm_bench.hub import Backoff


def talking_backoff() -> "Backoff":
    """Return the usual backoff, which reports on stderr what it waits for; bars are drawn on a terminal only."""
    from tbrm_bench.hub import Backoff
    from tbrm_bench.hub.client import set_talk

    set_talk(bars=sys.stderr.isatty())
    return Backoff(tell=say)
