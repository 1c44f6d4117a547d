"""`tbench pull` as a person runs it; and a run of real size, there and back, in memory that does not grow with it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import TOKEN, client_environment
from hub_runs import content, make_run
from hub_server import HubServer

from tbrm_bench.errors import ExitCode

# The command itself, and then the most memory that it held, in KiB; ru_maxrss would know that of these tests too.
MEASURED = r"""
import re, sys
from pathlib import Path
from tbrm_bench.cli.app import main
try:
    main()
finally:
    print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        server.add_user("ann", token=TOKEN)
        yield server


def tbench(hub: HubServer, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MEASURED, *map(str, words)]
    environment = client_environment(hub, folder)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_one_of_several_is_chosen_by_name(hub: HubServer, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    for run in runs:
        assert tbench(hub, tmp_path, "push", run, "ann/both").returncode == ExitCode.DONE
    unclear = tbench(hub, tmp_path, "pull", "ann/both", tmp_path / "back")
    assert unclear.returncode == ExitCode.USAGE
    assert "ann/both holds 2 runs; choose one with --run: one, two" in unclear.stderr
    assert not (tmp_path / "back").exists()
    assert tbench(hub, tmp_path, "pull", "ann/both", tmp_path / "back", "--run", "two").returncode == ExitCode.DONE
    assert content(tmp_path / "back") == content(runs[1])


@pytest.mark.slow
def test_a_run_of_50_000_samples_comes_back_equal_and_memory_stays_flat(hub: HubServer, tmp_path: Path) -> None:
    peaks = {}
    for num_samples in (10, 100):
        run = make_run(tmp_path / f"k{num_samples}", num_problems=500, num_samples=num_samples, text_bytes=3000)
        pushed = tbench(hub, tmp_path, "push", run, f"ann/k{num_samples}")
        assert pushed.returncode == ExitCode.DONE, pushed.stderr
        back = tmp_path / f"back{num_samples}"
        pulled = tbench(hub, tmp_path, "pull", f"ann/k{num_samples}", back)
        assert pulled.returncode == ExitCode.DONE, pulled.stderr
        assert content(back) == content(run)
        peaks[num_samples] = [int(done.stderr.split()[-1]) / 1024 for done in (pushed, pulled)]
    print(f"peak memory in MiB, push and pull: {peaks}")
    for small, large in zip(peaks[10], peaks[100], strict=True):
        assert large - small < 64  # ten times the samples: 450 MB more of text and tokens
