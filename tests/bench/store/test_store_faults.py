"""The run store on bad disks: full, limited, read-only, cut short. Processes that are killed: test_store_kill.py."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.records import Gold, Problem, ProblemKey, Sample, SampleKey
from tbrm_bench.store import RunStore

TARGET = 400
PROBLEM = Problem(ProblemKey("toy", "p"), "?", Gold(("1",)), "p")


def open_run(run_dir: Path) -> RunStore:
    return RunStore.open_writer(run_dir, lock={"seed": 0}, about={"strict_boxed": False})


def sample_of(key: SampleKey) -> Sample:
    """Return the only sample that this key can have."""
    draw = random.Random(key.sample_index)
    return Sample(key, key.sample_index, draw.randbytes(2000).hex(), (key.sample_index,) * 9, "stop", 3)


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
    store.put_problems([PROBLEM], {"toy": TARGET})
    stored = 0

    def go_on() -> None:
        nonlocal stored
        for key in store.missing("toy"):
            store.add_samples([sample_of(key)])
            stored += 1

    with pytest.raises(RunFailed, match="free some space") as caught:
        go_on()
    assert caught.value.exit_code == ExitCode.FAILED
    return stored


def check_that_nothing_is_lost(run_dir: Path, num_stored: int) -> None:
    with RunStore.open_reader(run_dir) as store:
        assert list(store.samples()) == [sample_of(SampleKey("toy", "p", i)) for i in range(num_stored)]


def finish(run_dir: Path) -> None:
    with open_run(run_dir) as store:
        store.add_samples(map(sample_of, store.missing("toy")))
    check_that_nothing_is_lost(run_dir, TARGET)


def test_a_full_disk_loses_nothing_and_the_run_is_completed_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "600k") as disk:
        for _ in range(2):  # a disk that is still full says so again
            with open_run(disk / "run") as store:
                fill_up(store)
                num_stored = store.count_samples()
            assert 5 < num_stored < TARGET
            check_that_nothing_is_lost(disk / "run", num_stored)
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        finish(disk / "run")


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
    finish(run_dir)


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
        store.add_samples([sample_of(SampleKey("toy", "p", 0))])
    with read_only(run_dir):
        for attempt in (open_run, RunStore.open_grader, lambda folder: open_run(folder / "new")):
            with pytest.raises(UserError, match="cannot be written") as caught:
                attempt(run_dir)
            assert caught.value.exit_code == ExitCode.USAGE
        check_that_nothing_is_lost(run_dir, 1)


def stored_run(run_dir: Path, num_samples: int) -> Path:
    with open_run(run_dir) as store:
        store.put_problems([PROBLEM], {"toy": num_samples})
        store.add_samples(sample_of(SampleKey("toy", "p", index)) for index in range(num_samples))
    return run_dir


def test_what_a_killed_writer_has_left_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The log is not folded into the file yet; a copy of such a run may have lost the log's index."""
    run_dir, copied = tmp_path / "run", tmp_path / "copied"
    code = (
        f"import os, sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_store_faults as own; own.RunStore.__exit__ = lambda *_: os._exit(0)\n"
        "own.stored_run(Path(sys.argv[1]), 20)"
    )
    subprocess.run([sys.executable, "-c", code, str(run_dir)], check=True)
    assert (run_dir / "samples.sqlite-wal").stat().st_size > 20 * 4000
    shutil.copytree(run_dir, copied, ignore=shutil.ignore_patterns("*-shm"))
    with read_only(run_dir):
        check_that_nothing_is_lost(run_dir, 20)
    with read_only(copied), pytest.raises(UserError, match="cannot be written to") as caught:
        check_that_nothing_is_lost(copied, 20)
    assert "copy the folder" in str(caught.value)
    check_that_nothing_is_lost(copied, 20)


@pytest.mark.parametrize("kept", [1, 50, 100, 4096, 40_000, -4096, -1])
def test_a_database_that_is_cut_short_is_one_line(tmp_path: Path, kept: int) -> None:
    run_dir = stored_run(tmp_path / "run", 20)
    file = run_dir / "samples.sqlite"
    file.write_bytes(file.read_bytes()[:kept])
    for open_it in (RunStore.open_reader, RunStore.open_grader, open_run):
        with pytest.raises(UserError, match="damaged") as caught, open_it(run_dir) as store:
            list(store.samples())
        assert "\n" not in str(caught.value)
        assert str(file) in str(caught.value)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    for name in ("a b", "50%", "what?", "#1", "Übung ∑", "-x", "'\"", "file:x?mode=rw", "{}"):
        check_that_nothing_is_lost(stored_run(tmp_path / name, 2), 2)
