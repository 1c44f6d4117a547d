"""A Mac, as far as Python shows one: what only Linux has is gone, or raises, before anything else is imported.

Read by every Python whose PYTHONPATH begins with this folder, the grader's workers among them. It leaves alone the
names that do exist on macOS: fcntl, resource, SIGPROF, O_NOFOLLOW, preadv.
"""

import builtins
import errno
import io
import os
import resource
import select
import signal
import sys
import sysconfig
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

OS = (
    *("sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "sched_getparam", "posix_fadvise", "eventfd"),
    *("posix_fallocate", "copy_file_range", "memfd_create", "getrandom", "splice", "pidfd_open", "pipe2", "fdatasync"),
    *("getxattr", "setxattr", "listxattr", "removexattr", "getresuid", "setresuid", "unshare", "setns"),
    *("O_TMPFILE", "O_PATH", "O_DIRECT", "O_NOATIME", "O_LARGEFILE", "RWF_NOWAIT", "MFD_CLOEXEC"),
)
OTHERS: dict[ModuleType, tuple[str, ...]] = {
    os: OS,
    select: ("epoll",),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIGPWR", "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX"),
    resource: ("prlimit", "RUSAGE_THREAD", "RLIMIT_OFILE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_SIGPENDING"),
}
LINUX_SYSCONF = ("SC_AVPHYS_PAGES",)


def without_linux(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call for a machine without /proc, /sys and /dev/shm."""

    def on_a_mac(path: Any, *words: Any, **more: Any) -> Any:
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(("/proc", "/sys", "/dev/shm")):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        return call(path, *words, **more)

    return on_a_mac


def limit(kind: int, limits: tuple[int, int], set_limit: Callable[..., None] = resource.setrlimit) -> None:
    """Set a limit, but none of address space."""
    if kind == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    set_limit(kind, limits)


def sysconf(name: str | int, ask: Callable[[Any], int] = os.sysconf) -> int:
    """Answer what macOS answers."""
    if name in LINUX_SYSCONF:
        raise ValueError("unrecognized configuration name")
    return ask(name)


for module, names in OTHERS.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in LINUX_SYSCONF:
    del os.sysconf_names[name]
for holder, called in ((builtins, "open"), (io, "open"), (os, "open"), (os, "stat"), (os, "listdir"), (os, "readlink")):
    setattr(holder, called, without_linux(getattr(holder, called)))
os.sysconf = sysconf
resource.setrlimit = limit
sysconfig.get_config_vars()  # from the files of this build, under its own name
sys.platform = "darwin"
sys.modules["_scproxy"] = SimpleNamespace(_get_proxies=dict, _get_proxy_settings=dict)  # type: ignore[assignment]
