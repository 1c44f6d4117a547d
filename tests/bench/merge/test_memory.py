"""A merge's memory does not depend on the model's size: shown by its peak, and by merging under a limit.

Measured here: 56 MB resident for 0.28 and for 0.56 GB of shards; 200 MB of address space are enough for both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forging import save_actor

from tbrm_bench.errors import RunFailed
from tbrm_bench.merge import merge
from tbrm_bench.merge.source import unpickle

FOLDER = Path(__file__).resolve().parents[2] / "support" / "checkpoints"
MERGE = r"""
import json, re, resource, sys
from pathlib import Path
limit = int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from tbrm_bench.merge import merge
report = merge(Path(sys.argv[1]), Path(sys.argv[2]), dtype=sys.argv[3] or None)
peak_kb = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # ru_maxrss knows the parent's
print(json.dumps({"bytes": report.num_bytes, "fingerprint": report.fingerprint, "peak": peak_kb * 1024}))
"""
LIMIT = 256 << 20
PEAK = 100 << 20


@pytest.fixture(scope="session", params=[12, 24], ids=lambda layers: f"{layers}-layers")
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bf16 checkpoint of 0.29 or 0.56 GB on two ranks."""
    folder = tmp_path_factory.mktemp("large") / "checkpoint"
    command = [sys.executable, "-W", "ignore", "-m", "checkpoints.large", str(folder), str(request.param)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True)
    return folder


def run(checkpoint: Path, output: Path, dtype: str = "", limit: int = 0) -> dict[str, int]:
    # OpenBLAS, which numpy loads, reserves address space for every thread that it might start.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MERGE, str(checkpoint), str(output), dtype, str(limit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, int] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_the_peak_is_small_and_a_limit_far_below_the_models_size_is_enough(large: Path, tmp_path: Path) -> None:
    shards = sum(file.stat().st_size for file in large.glob("model_*.pt"))
    for dtype in ("", "float32"):
        free = run(large, tmp_path / f"free{dtype}", dtype)  # this one also asks for the class, which takes torch
        limited = run(large, tmp_path / f"limited{dtype}", dtype, LIMIT)
        assert limited["fingerprint"] == free["fingerprint"]
        assert max(free["peak"], limited["peak"]) < PEAK
    assert shards > LIMIT
    assert free["bytes"] > 2 * LIMIT


SHORT = """
import resource, sys
from pathlib import Path
import numpy, tbrm_bench.merge.flow
from tbrm_bench.errors import UserError
from tbrm_bench.merge import merge
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
except UserError as error:
    print(type(error).__name__, error)
else:
    print("merged")
"""


def test_too_little_memory_is_not_called_a_damaged_checkpoint(tmp_path: Path) -> None:
    """Whatever the room: a right model or a word about memory, and nothing left behind."""
    actor = save_actor(tmp_path / "actor")
    said = set()
    for room in (0, 1 << 18, 1 << 20, 1 << 21, 1 << 23, 1 << 27):
        output = tmp_path / f"out{room}"
        command = [sys.executable, "-c", SHORT, str(actor), str(output), str(room)]
        done = subprocess.run(command, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.startswith(("merged", "RunFailed not enough memory")), done.stdout
        assert output.exists() == done.stdout.startswith("merged")
        said.add(done.stdout.split()[0])
    assert said == {"merged", "RunFailed"}


def test_a_pickle_beyond_memory_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = save_actor(tmp_path / "actor")

    def no_memory(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(unpickle, "check_opcodes", no_memory)
    with pytest.raises(RunFailed, match=r"not enough memory.*not at fault"):
        merge(actor, tmp_path / "out")
    assert not (tmp_path / "out").exists()
