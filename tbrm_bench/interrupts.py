"""Ctrl-C, SIGTERM and SIGHUP (a terminal that was closed) end a command in the same order: as a KeyboardInterrupt.

Every `finally` and `with` on the way out runs: temporary folders go, locks are released. What the parent ignores
(nohup) stays ignored, children have the handlers that they would have without this module, and the ranks of a launcher
(torchrun, DeepSpeed), which end by its SIGTERM while they wait for each other, keep it.
"""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[signal.Signals] = []


def install() -> None:
    """Take the signals over; call it from the main thread of the process that a person started, once."""
    if threading.current_thread() is not threading.main_thread():
        return
    wanted = SIGNALS[:1] if "LOCAL_RANK" in os.environ else SIGNALS
    defaults = {number: handler for number in wanted if (handler := signal.getsignal(number)) in _DEFAULTS}
    for number in defaults:
        signal.signal(number, _interrupt)

    def restore() -> None:
        for number, handler in defaults.items():
            signal.signal(number, handler)

    os.register_at_fork(after_in_child=restore)


def received() -> signal.Signals | None:
    """Return the first signal that asked for the end, whatever became of its exception; None if there was none."""
    return _received[0] if _received else None


def ended_by(code: int) -> str | None:
    """Return the name of the signal that ended a process with this exit code (143 or -15: SIGTERM), or None."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in map(int, signal.Signals) else None


_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    # A closed terminal and a supervisor send several; only a person's second Ctrl-C breaks into the cleaning up.
    if number == signal.SIGINT or len(_received) == 1:
        raise KeyboardInterrupt
