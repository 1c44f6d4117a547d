"""Files and folders appear whole or not at all; locks touch nobody's file; a disk's refusal is one line, one code."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.disk import disk_errors
from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.files import FileLock, check_free, new_folder, read_text, write_files, write_named, write_text


def write(output: Path, content: str = "new") -> None:
    with new_folder(output) as draft:
        (draft / "config.json").write_text(content)
        assert not (output / "config.json").exists(), "nothing is to be seen before the end"


def write_and_fail(output: Path, fault: BaseException) -> None:
    with new_folder(output) as draft:
        (draft / "config.json").write_text("half")
        raise fault


def write_late(output: Path) -> None:
    """Write a folder; while that goes on, another one takes its place."""
    with new_folder(output) as draft:
        (draft / "config.json").write_text("new")
        with pytest.raises(RunFailed, match=f"is being written by process {os.getpid()}"):
            write(output, "other")
        output.mkdir()
        (output / "config.json").write_text("other")


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["model", "deep/er/model", "ein Modell=1", "trailing/"])
def test_the_folder_holds_what_was_written_and_nothing_else_is_left(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert files(tmp_path) == {f"{name.rstrip('/')}/config.json": "new"}
    assert len(list((tmp_path / name).parent.iterdir())) == 1


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path) -> None:
    """It may be a mount point, which cannot be replaced."""
    output = tmp_path / "mounted"
    output.mkdir()
    before = output.stat().st_ino
    write(output)
    assert files(tmp_path) == {"mounted/config.json": "new"}
    assert output.stat().st_ino == before
    assert [path.name for path in output.iterdir()] == ["config.json"]


def test_a_link_to_an_empty_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "config.json").read_text() == "new"


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_interrupts_leaves_nothing(fault: type[BaseException], tmp_path: Path) -> None:
    for existing in (False, True):
        output = tmp_path / "model"
        if existing:
            output.mkdir()
        with pytest.raises(fault):
            write_and_fail(output, fault())
        assert not files(tmp_path)
        assert output.exists() == existing
        assert not existing or not list(output.iterdir())


def test_what_stands_there_is_never_touched(tmp_path: Path) -> None:
    taken, file, dangling = tmp_path / "taken", tmp_path / "file", tmp_path / "dangling"
    below = file / "deep" / "model"
    write(taken, "old")
    file.write_text("old")
    dangling.symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for output, said in (
        (taken, f"{taken} already holds files"),
        (file, f"{file} is not a folder"),
        (dangling, f"{dangling} is not a folder"),
        (below, f"{file} is not a folder"),
    ):
        for attempt in (check_free, write):
            with pytest.raises(UserError, match=said) as caught:
                attempt(output)
            assert caught.value.exit_code is ExitCode.USAGE
    assert sorted(tmp_path.rglob("*")) == before
    assert files(taken) == {"config.json": "old"}


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "model"
    with pytest.raises(UserError, match="already holds files"):
        write_late(output)
    assert files(tmp_path) == {"model/config.json": "other"}


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    places = [Path("/proc/model"), tmp_path / ("x" * 300)]
    if os.geteuid() != 0:  # nothing is forbidden to root
        (tmp_path / "locked").mkdir(mode=0o500)
        places.append(tmp_path / "locked" / "model")
    for output in places:
        with pytest.raises(UserError, match="cannot be written: ") as caught, new_folder(output):
            pytest.fail("the work began")
        assert caught.value.exit_code is ExitCode.USAGE
        assert "\n" not in str(caught.value)


def test_a_killed_draft_is_removed_by_the_next_and_hides_nothing(tmp_path: Path) -> None:
    for output in (tmp_path / "new", tmp_path / "there", tmp_path / ("n" * 250), tmp_path / "a[1]*"):
        if output.name == "there":
            output.mkdir()
        home = output if output.is_dir() else tmp_path
        code = (
            "import os, sys; from pathlib import Path; from tbrm_bench.files import new_folder\n"
            "with new_folder(Path(sys.argv[1])) as draft: (draft / 'x').write_text('half'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", code, str(output)], check=True)
        assert any(path.name.startswith(".") for path in home.iterdir())
        write(output)
        assert files(output) == {"config.json": "new"}
        assert not [path for path in home.iterdir() if path.name.startswith(".")]


def test_files_are_for_whom_the_umask_lets_read(tmp_path: Path) -> None:
    """Libraries write checkpoints for their owner alone."""
    before = os.umask(0o027)
    try:
        with new_folder(tmp_path / "model") as draft:
            (draft / "state").mkdir()
            for name in ("weights", "state/optimizer"):
                (draft / name).touch(mode=0o600)
        write_text(tmp_path / "results.json", "{}")
    finally:
        os.umask(before)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in found] == [0o640] * 3
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750


def limited(code: str, folder: Path) -> None:
    """Run code in a process whose files may not grow beyond 1000 bytes: what a full disk does, without a mount."""
    start = (
        "import resource, signal, sys; from pathlib import Path; from tbrm_bench.errors import RunFailed\n"
        "from tbrm_bench.files import *; from tbrm_bench.disk import *\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); folder = Path(sys.argv[1])\n"
        f"try:\n    {code}\nexcept RunFailed as error: assert 'no room' in str(error), error\nelse: sys.exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", start, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_changes_none_of_several_files(tmp_path: Path) -> None:
    write_files({tmp_path / "a": "old a", tmp_path / "b": "old b"})
    limited("write_files({folder / 'a': 'new', folder / 'b': 'n' * 5000})", tmp_path)
    limited("write_named(folder / 'b', 'n' * 5000)", tmp_path)
    limited(
        "with new_folder(folder / 'c') as draft: (draft / 'x').write_text('x'); disk = disk_errors(draft); "
        "disk.__enter__(); write_text(draft / 'y', 'y' * 5000)",
        tmp_path,
    )
    assert files(tmp_path) == {"a": "old a", "b": "old b"}


@pytest.mark.parametrize("kind", ["link", "dangling", "loop", "hard link", "pipe", "folder"])
def test_a_lock_touches_no_file_of_others(kind: str, tmp_path: Path) -> None:
    victim, lock = tmp_path / "victim", tmp_path / "writer.lock"
    victim.write_text("mine")
    match kind:
        case "link":
            lock.symlink_to("victim")
        case "dangling":
            lock.symlink_to("nothing")
        case "loop":
            lock.symlink_to("writer.lock")
        case "hard link":
            os.link(victim, lock)
        case "pipe":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=str(lock)) as caught:
        FileLock(lock, "busy")
    assert caught.value.exit_code is ExitCode.USAGE
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_lock_is_held_once_names_its_holder_and_is_free_again(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    for _ in range(2):
        with FileLock(file, "it is in use by"):
            with pytest.raises(RunFailed, match=rf"it is in use by process {os.getpid()} on ") as caught:
                FileLock(file, "it is in use by")
            assert caught.value.exit_code is ExitCode.FAILED


def test_what_a_person_names_may_be_a_link_or_a_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_named(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_named(Path(os.devnull), "text")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    (tmp_path / "loop").symlink_to("loop")
    for name, said in (("", "Is a directory"), ("loop", "symbolic links")):
        with pytest.raises(UserError, match=said):
            write_named(tmp_path / name, "text")
    assert (tmp_path / "loop").is_symlink()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "raw").write_bytes(b"\xff")
    for name in ("pipe", "raw", "gone", "."):
        with pytest.raises(UserError, match=str(tmp_path)):
            read_text(tmp_path / name)


@pytest.mark.parametrize(
    ("number", "code"),
    [(number, 2) for number in (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EACCES)]
    + [(number, 1) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EMFILE)],
)
def test_a_refusal_has_one_line_and_one_code(number: int, code: int) -> None:
    path = Path("a" * 5000)
    with pytest.raises(UserError) as caught, disk_errors(path):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == code
    assert os.strerror(number) in str(caught.value)
    assert len(str(caught.value)) < 400
