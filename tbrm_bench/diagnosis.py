"""`tbench doctor`: what this machine can do, and what to do about what it cannot.

Everything that imports a heavy or a broken package happens in a process of its own with a time limit, so that the
diagnosis itself never dies and never hangs. Whether a token is set is reported, never its value.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

from tbrm_bench.engines import ENGINES, engine_class, engine_packages
from tbrm_bench.errors import BENCH_EXTRA, BENCH_MODULES, UserError, install_line
from tbrm_bench.hub import hub_status
from tbrm_bench.provenance import hardware, versions
from tbrm_bench.resources import builtin_model_dir, data_dir

IMPORT_LIMIT_S = 300.0  # from a slow network disk, a large package takes minutes
Level = Literal["ok", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis. `broken` is something that should work and does not; `missing` may be on purpose."""

    subject: str
    level: Level
    detail: str


def diagnose() -> list[Finding]:
    """Look at everything and return what was found, most basic first."""
    return [*_machine(), _bench(), *_data(), *_engines(), *_folders(), *_hub()]


def _machine() -> list[Finding]:
    machine = hardware()
    python = f"{sys.version.split()[0]} at {sys.executable}"
    detail = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    packages = ", ".join(
        f"{name} {version}" for name, version in versions(engine_packages()).items() if name != "python"
    )
    return [Finding("python", "ok", python), Finding("machine", "ok", detail), Finding("packages", "ok", packages)]


def _absent() -> list[str]:
    return [name for name in BENCH_MODULES if importlib.util.find_spec(name) is None]


def _bench() -> Finding:
    if absent := _absent():
        return Finding(
            "runs", "missing", f"{install_line(BENCH_EXTRA)} (no {', '.join(absent)}); grading works without"
        )
    return Finding("runs", "ok", "rows, statistics, the Hub, merging")


def _data() -> list[Finding]:
    return [
        _located("task files", lambda: data_dir("tasks")),
        _located("builtin:tiny", lambda: builtin_model_dir("tiny")),
    ]


def _located(subject: str, find: Callable[[], Path]) -> Finding:
    try:
        return Finding(subject, "ok", str(find()))
    except UserError as error:
        return Finding(subject, "broken", str(error))


def _engines() -> list[Finding]:
    # Each waits for a process of its own, so threads are enough to wait for the slowest only.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda check: check(), (_torch, *(partial(_engine, name) for name in ENGINES))))


def _torch() -> Finding:
    if "torch" not in versions():
        return Finding("torch", "missing", f"{install_line('hf')} (needed by every local engine)")
    return _probe(
        "torch",
        "import torch; g = torch.cuda.is_available();"
        "print(torch.__version__, 'with ' + torch.cuda.get_device_name(0) if g else 'without a GPU')",
    )


def _engine(name: str) -> Finding:
    about, subject = engine_class(name).about, f"engine {name}"
    builds = [build for build in about.builds if build in versions(about.builds)]
    if not builds:
        return Finding(subject, "missing", " or ".join(install_line(extra) for extra in about.builds.values()))
    if len(builds) > 1:
        return Finding(
            subject, "broken", f"{' and '.join(builds)} are both installed; uninstall both, install one extra"
        )
    return _probe(subject, about.probe)


def _probe(subject: str, code: str) -> Finding:
    """Run a few words of Python elsewhere; the last line of its error is what a person needs."""
    environment = {"VLLM_LOGGING_LEVEL": "ERROR"} | dict(os.environ)
    # Files, not pipes: a process that the package has started may hold a pipe open after its parent is killed.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                stdout=stdout,
                stderr=stderr,
                timeout=IMPORT_LIMIT_S,
                env=environment,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Finding(subject, "broken", f"importing it took more than {IMPORT_LIMIT_S:.0f} s")
        printed, said = _lines(stdout), _lines(stderr)
    if done.returncode == 0:
        return Finding(subject, "ok", (printed or ["imports"])[-1])
    last = (said or [f"exit code {done.returncode}"])[-1]
    if any("torchvision::nms" in line for line in said):
        last = "torchvision is a CUDA build beside a CPU torch: pip uninstall torchvision torchaudio torchcodec"
    return Finding(subject, "broken", last)


def _lines(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").strip().splitlines()


def _folders() -> list[Finding]:
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return [_folder("this folder", Path.cwd()), _folder("Hub cache", cache)]


def _folder(subject: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding(subject, "broken", f"{folder} cannot be written to")
    free = shutil.disk_usage(existing).free / 2**30
    return Finding(subject, "ok", f"{folder}, {free:.1f} GiB free")


def _hub() -> list[Finding]:
    if "huggingface_hub" in _absent():
        return [Finding("Hub", "missing", install_line(BENCH_EXTRA))]
    status = hub_status()
    token = "a token is set" if status.has_token else "no token"
    if status.offline:
        return [Finding("Hub", "missing", f"offline mode is on (HF_HUB_OFFLINE); {token}; use --data for the rows")]
    if status.reachable:
        return [Finding("Hub", "ok", f"{status.endpoint} answers; {token}")]
    return [Finding("Hub", "missing", f"{status.endpoint} does not answer; {token}; use --data for the rows")]
