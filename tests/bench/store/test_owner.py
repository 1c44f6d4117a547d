"""A database belongs to the run that drew its samples: in the folder of another one it is refused, not scored."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.grading import GRADER
from tbrm_bench.publish import dry_run
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, Status
from tbrm_bench.run.comparison import read_run
from tbrm_bench.run.pipeline import regrade
from tbrm_bench.run.results import current_results, shown_result
from tbrm_bench.store import RunStore

RUN_V1 = Path(__file__).resolve().parents[2] / "golden" / "run_v1"
ABOUT = {"model": "m", "protocol": "quickstart", "strict_boxed": False, "created": "2026-01-31T10:00:00+00:00"}


def lock_of(*, seed: int = 0, num_problems: int = 3) -> dict[str, Any]:
    return {"version": 2, "seed": seed, "tasks": {"toy": {"num_problems": num_problems}}}


def make_run(folder: Path, status: Status, lock: dict[str, Any], *, k: int = 2) -> Path:
    num_problems = lock["tasks"]["toy"]["num_problems"]
    problems = [Problem(ProblemKey("toy", f"p{i}"), "?", Gold(("1",)), f"p{i}") for i in range(num_problems)]
    with RunStore.open_writer(folder, lock=lock, about=ABOUT) as store:
        store.put_problems(problems, {"toy": k})
        store.add_samples(Sample(key, 1, "text", (5,), "stop", 9) for key in list(store.missing("toy")))
        store.add_grades([(sample.key, Grade(status, "1", "r")) for sample, _ in store.ungraded(GRADER)], GRADER)
    regrade(folder)
    return folder


def move_in(run: Path, other: Path) -> None:
    """Put the database of another run into a run's folder."""
    shutil.copy(other / "samples.sqlite", run / "samples.sqlite")


def test_samples_of_another_lock_are_refused_everywhere(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Status.CORRECT, lock_of())
    move_in(run, make_run(tmp_path / "other", Status.WRONG, lock_of(seed=1)))
    readers = (shown_result, current_results, read_run, regrade, lambda folder: dry_run(folder, "a/b"))
    for read in (*readers, lambda folder: RunStore.open_writer(folder, lock=lock_of(), about=ABOUT)):
        with pytest.raises(UserError, match=r"samples of another run: it has the lock \w{12}, run.json beside it has"):
            read(run)
    # The file is not ruined: back in its own folder it is what it was.
    shutil.copy(run / "samples.sqlite", tmp_path / "other" / "samples.sqlite")
    assert shown_result(tmp_path / "other")[1] is None


def forget_lock(run: Path) -> None:
    """Make the database one of version 0.1, which has no table `state`."""
    with sqlite3.connect(run / "samples.sqlite") as connection:
        connection.execute("DROP TABLE state")
    connection.close()


def test_of_an_older_database_the_tasks_must_be_those_of_the_lock(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Status.CORRECT, lock_of())
    other = make_run(tmp_path / "other", Status.WRONG, lock_of(num_problems=5))
    forget_lock(other)
    move_in(run, other)
    with pytest.raises(UserError, match=r"it has 5 problems of toy, run\.json beside it has 3"):
        shown_result(run)
    move_in(run, RUN_V1)
    with pytest.raises(UserError, match=r"it has the task arithmetic, run\.json beside it has toy"):
        shown_result(run)


def test_the_first_writer_of_an_older_database_notes_whose_it_is(tmp_path: Path) -> None:
    run = shutil.copytree(RUN_V1, tmp_path / "run")
    assert shown_result(run)[1] is None
    regrade(run)
    move_in(make_run(tmp_path / "other", Status.CORRECT, lock_of()), run)
    with pytest.raises(UserError, match="samples of another run: it has the lock 8f793b27f153,"):
        shown_result(tmp_path / "other")


@pytest.mark.parametrize(("name", "value"), [("model", "better"), ("protocol", "tbrm-paper"), ("commit", "abc")])
def test_results_that_name_another_model_or_protocol_are_not_current(tmp_path: Path, name: str, value: str) -> None:
    run = make_run(tmp_path / "run", Status.CORRECT, lock_of())
    text = (run / "results.json").read_text()
    now = f'"{name}": "{ABOUT[name]}"' if name in ABOUT else '"about": {'
    new = f'"{name}": "{value}"' if name in ABOUT else f'"about": {{"{name}": "{value}",'
    assert now in text
    (run / "results.json").write_text(text.replace(now, new))
    result, note = shown_result(run)
    assert result.about.get(name) == ABOUT.get(name)
    assert note is not None
    assert f"its {name} is {value}, the run's is {ABOUT.get(name)}" in note
    with pytest.raises(UserError, match="is not current"):
        current_results(run)


def test_a_run_that_grows_between_its_check_and_its_export_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", Status.CORRECT, lock_of())
    checked = current_results(run)
    with RunStore.open_writer(run, lock=lock_of(), about=ABOUT) as store:
        store.put_problems([], {"toy": 40})
    monkeypatch.setattr("tbrm_bench.publish.export.current_results", lambda folder: checked)
    with pytest.raises(RunFailed, match=r"grew while it was read, from \[\('toy', 2\)\] to \[\('toy', 40\)\]"):
        dry_run(run, "a/b")
