"""The run store under faults: SIGKILL at any moment, a full disk, a folder that cannot be written to."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.records import Gold, Problem, ProblemKey, Sample, SampleKey
from tbrm_bench.store import RunStore

PROBLEM = Problem(ProblemKey("toy", "p"), "?", Gold(("1",)), "p")
MANY = 100_000
# Stores sample after sample and says each number once it is committed; goes on where an earlier one stopped.
CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store_faults import MANY, PROBLEM, open_run, sample_of
with open_run(Path(sys.argv[1])) as store:
    store.put_problems([PROBLEM], {{"toy": MANY}})
    print("open", flush=True)
    for key in store.missing("toy"):
        store.add_samples([sample_of(key)])
        print(key.sample_index, flush=True)
"""


def open_run(run_dir: Path) -> RunStore:
    return RunStore.open_writer(run_dir, lock={"seed": 0}, about={"strict_boxed": False})


def sample_of(key: SampleKey, length: int = 300) -> Sample:
    """Return the only sample that this key can have."""
    draw = random.Random(key.sample_index)
    return Sample(key, key.sample_index, draw.randbytes(length).hex(), (key.sample_index,) * 9, "stop", 3)


def kill_somewhere(run_dir: Path, after_s: float) -> int:
    """Kill the child `after_s` seconds after it has opened the run; return the last number that it said."""
    code = CHILD.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split("\n")[:-1]  # what follows the last line end was cut off
    return int(said[-1]) if said else -1


def kill_many_times(run_dir: Path, num_kills: int) -> None:
    draw = random.Random(num_kills)
    for _ in range(num_kills):
        last = kill_somewhere(run_dir, draw.uniform(0, 0.15))
        with open_run(run_dir) as store:
            stored = list(store.samples())
        assert len(stored) > last, "what was said to be committed is there"
        assert stored == [sample_of(SampleKey("toy", "p", index)) for index in range(len(stored))]
        with sqlite3.connect(run_dir / "samples.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_many_times(tmp_path / "run", 6)


@pytest.mark.slow
def test_kill_9_many_times_loses_nothing(tmp_path: Path) -> None:
    kill_many_times(tmp_path / "run", 50)


def test_a_start_that_is_killed_can_be_started_again(tmp_path: Path) -> None:
    """Killed before run.json was whole, a run leaves nothing but its own hidden files."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / ".run.json.12345").write_text('{"schema": 1, "lo')
    (run_dir / "writer.lock").write_text("process 12345 on somewhere")
    with open_run(run_dir) as store:
        assert store.tasks() == []


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a few hundred KB; skips where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes a privilege that this process lacks")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_up(store: RunStore) -> int:
    """Store samples until the disk is full; return how many fitted."""
    store.put_problems([PROBLEM], {"toy": 5000})
    stored = 0

    def go_on() -> None:
        nonlocal stored
        for key in store.missing("toy"):
            store.add_samples([sample_of(key, 2000)])
            stored += 1

    with pytest.raises(RunFailed, match="free some space") as caught:
        go_on()
    assert caught.value.exit_code == ExitCode.FAILED
    return stored


def check_that_nothing_is_lost(run_dir: Path, num_stored: int) -> None:
    with RunStore.open_reader(run_dir) as store:
        assert list(store.samples()) == [sample_of(SampleKey("toy", "p", i), 2000) for i in range(num_stored)]


def test_a_full_disk_loses_nothing_and_the_run_goes_on_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "600k") as disk:
        (disk / "ballast").write_bytes(b"\0" * 150_000)
        with open_run(disk / "run") as store:
            num_stored = fill_up(store)
        assert num_stored > 5
        check_that_nothing_is_lost(disk / "run", num_stored)
        (disk / "ballast").unlink()
        with open_run(disk / "run") as store:
            next_key = next(store.missing("toy"))
            assert next_key.sample_index == num_stored
            store.add_samples([sample_of(next_key, 2000)])
        check_that_nothing_is_lost(disk / "run", num_stored + 1)


def test_a_limit_on_the_file_size_is_told_like_a_full_disk(tmp_path: Path) -> None:
    """As above for who may not mount: the kernel refuses to let any file of this process grow beyond 200 KB."""
    code = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store_faults import fill_up, open_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
with open_run(Path(sys.argv[1])) as store:
    print(fill_up(store))
"""
    run_dir = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_that_nothing_is_lost(run_dir, int(done.stdout))


def test_a_full_disk_at_the_very_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "ballast").write_bytes(b"\0" * 60_000)
        with pytest.raises((RunFailed, UserError), match=r"space|room"):
            open_run(disk / "run")


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only: by its mode, or by a mount where the mode does not bind (root)."""
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    bind = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("root may write anywhere, and this root may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_can_be_read_and_is_told(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with open_run(run_dir) as store:
        store.put_problems([PROBLEM], {"toy": 3})
        store.add_samples([sample_of(SampleKey("toy", "p", 0), 2000)])
    with read_only(run_dir):
        for attempt in (open_run, RunStore.open_grader, lambda folder: open_run(folder / "new")):
            with pytest.raises(UserError, match="cannot be written to") as caught:
                attempt(run_dir)
            assert caught.value.exit_code == ExitCode.USAGE
        check_that_nothing_is_lost(run_dir, 1)
