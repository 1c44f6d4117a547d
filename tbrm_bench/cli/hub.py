"""What the commands that talk to the Hub share: a backoff that reports what it waits for, sizes for people."""

import sys
from typing import TYPE_CHECKING

from tbrm_bench.cli.talk import say

if TYPE_CHECKING:
    from tbrm_bench.hub import Backoff

UNITS = ("B", "kB", "MB", "GB", "TB")


def talking_backoff() -> "Backoff":
    """Return the usual backoff, which reports on stderr what it waits for; bars are drawn on a terminal only."""
    from tbrm_bench.hub import Backoff
    from tbrm_bench.hub.client import set_talk

    set_talk(bars=sys.stderr.isatty())
    return Backoff(tell=say)


def size(num_bytes: float) -> str:
    """Return a number of bytes for people, in powers of 1000."""
    unit = 0
    while num_bytes >= 1000 and unit < len(UNITS) - 1:
        num_bytes /= 1000
        unit += 1
    return f"{num_bytes:.0f} {UNITS[0]}" if unit == 0 else f"{num_bytes:.1f} {UNITS[unit]}"
