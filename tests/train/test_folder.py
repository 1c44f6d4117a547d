"""A model's folder appears whole or not at all, and never in place of another one."""

import os
from pathlib import Path

import pytest

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_train.folder import check_free, new_folder


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
        write(output, "other")


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
            assert "output=DIR" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert files(taken) == {"config.json": "old"}


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "model"
    with pytest.raises(RunFailed, match="not empty"):
        write_late(output)
    assert files(tmp_path) == {"model/config.json": "other"}


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    places = [Path("/proc/model"), tmp_path / ("x" * 300)]
    if os.geteuid() != 0:  # nothing is forbidden to root
        (tmp_path / "locked").mkdir(mode=0o500)
        places.append(tmp_path / "locked" / "model")
    for output in places:
        with pytest.raises(RunFailed, match="cannot be written: ") as caught, new_folder(output):
            pytest.fail("the work began")
        assert caught.value.exit_code is ExitCode.FAILED
        assert "\n" not in str(caught.value)
