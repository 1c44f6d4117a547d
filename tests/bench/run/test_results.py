"""results.json is shown and published where it says what the store says, and only there; file times decide nothing."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tbrm_bench.cli.app import app
from tbrm_bench.errors import UserError
from tbrm_bench.grading import GRADER, GraderPool
from tbrm_bench.publish import dry_run, model_results
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, RunResult, Sample, SampleKey, Status
from tbrm_bench.run.pipeline import write_results
from tbrm_bench.run.result_json import result_from_json
from tbrm_bench.run.results import current_results, is_complete, shown_result
from tbrm_bench.run.score import score_run
from tbrm_bench.store import RunStore

PROBLEMS = [Problem(ProblemKey("toy", f"p{i}"), "?", Gold((str(i),), "integer"), f"c{i // 2}") for i in range(6)]
ABOUT = {"model": "m", "protocol": "quickstart", "strict_boxed": False, "created": "2026-01-31T10:00:00+00:00"}
RIGHT = [3, 1, 2, 0, 2, 1]  # of the first three samples, by problem


def grade_of(key: SampleKey) -> Grade:
    number = int(key.problem_id[1:])
    is_right = key.sample_index < RIGHT[number]
    return Grade(Status.CORRECT if is_right else Status.WRONG, str(number) if is_right else f"-{key.sample_index}", "r")


def fill(run: Path, k: int, *, num_stored: int | None = None, seed: int = 0, grader: str = GRADER) -> Path:
    """Raise a run to k samples and store and grade the first `num_stored` of those that are missing."""
    with RunStore.open_writer(run, lock={"seed": seed, "tasks": {"toy": {}}}, about=ABOUT) as store:
        store.put_problems(PROBLEMS, {"toy": k})
        keys = list(store.missing("toy"))[:num_stored]
        store.add_samples(Sample(key, 1, "text", (5, 6, 7), "stop", 9) for key in keys)
        store.add_grades([(sample.key, grade_of(sample.key)) for sample, _ in store.ungraded(grader)], grader)
    return run


def scored(run: Path) -> RunResult:
    """Write results.json as a finished run does."""
    with RunStore.open_reader(run) as store, GraderPool() as pool:
        grader = store.last_grader()
        assert grader is not None
        result = score_run(store, grader=grader, vote_classes=pool.vote_classes)
    write_results(run, result)
    return result


def rewrite(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what results.json says."""
    data = json.loads((run / "results.json").read_text())
    change(data)
    (run / "results.json").write_text(json.dumps(data, indent=2) + "\n")


@pytest.fixture(params=["with a proof", "of an earlier version"])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A complete run, its results.json dated tomorrow, with or without the proof that earlier versions lack."""
    folder = fill(tmp_path / "run", 3)
    scored(folder)
    if request.param == "of an earlier version":
        rewrite(folder, lambda data: data.pop("proof"))
    future(folder)
    return folder


def future(run: Path) -> None:
    then = (run / "samples.sqlite").stat().st_mtime + 86400
    os.utime(run / "results.json", (then, then))


def verdicts(run: Path, sql: str) -> None:
    """Change stored verdicts, and leave the database with the time that it had."""
    before = (run / "samples.sqlite").stat()
    with sqlite3.connect(run / "samples.sqlite") as connection:
        assert connection.execute(sql).rowcount
    connection.close()
    os.utime(run / "samples.sqlite", ns=(before.st_atime_ns, before.st_mtime_ns))


def assert_not_taken(run: Path, reason: str) -> RunResult:
    """What is shown is what the store gives, with a note that says why; nothing publishes the file."""
    with RunStore.open_reader(run) as store, GraderPool() as pool:
        wanted = score_run(store, grader=store.last_grader() or GRADER, vote_classes=pool.vote_classes)
    result, note = shown_result(run)
    assert repr(result) == repr(wanted)
    assert note is not None
    assert reason in note
    assert "\n" not in note
    with pytest.raises(UserError, match="tbench grade"):
        current_results(run)
    with pytest.raises(UserError, match="tbench grade"):
        dry_run(run, "a/b")
    with pytest.raises(UserError, match="tbench grade"):
        model_results(run, "a/b", source_url="")
    assert not is_complete(run)
    return result


def test_what_the_store_says_is_taken_from_the_file_whatever_its_time(run: Path) -> None:
    rewrite(run, lambda data: data.update(name="from the file"))  # a folder may be renamed
    for seconds in (-1e6, 1e6):
        then = (run / "samples.sqlite").stat().st_mtime + seconds
        os.utime(run / "results.json", (then, then))
        (run / "samples.sqlite-wal").touch()  # as a reader leaves it behind
        result, note = shown_result(run)
        assert (result.name, note) == ("from the file", None)
        assert current_results(run)[1].name == "from the file"
        assert is_complete(run)


def test_a_run_that_grew_and_was_killed_is_incomplete(run: Path) -> None:
    fill(run, 40, num_stored=100)
    future(run)
    (score,) = assert_not_taken(run, "num_").tasks
    assert (score.num_samples, score.num_missing) == (40, 6 * 37 - 100)
    shown = CliRunner().invoke(app, ["show", str(run)])
    assert "incomplete 118/240" in shown.stdout
    assert "is not current" in shown.stderr


def test_a_run_that_grew_and_was_not_scored_again_is_not_what_it_was(run: Path) -> None:
    fill(run, 4)
    future(run)
    assert_not_taken(run, "num_samples of toy is 3, from the stored verdicts it is 4")


def test_an_older_database_that_was_put_back_counts(tmp_path: Path) -> None:
    run = fill(tmp_path / "run", 3, num_stored=10)
    older = tmp_path / "older.sqlite"
    shutil.copy2(run / "samples.sqlite", older)
    scored(fill(run, 3))
    shutil.copy2(older, run / "samples.sqlite")
    future(run)
    (score,) = assert_not_taken(run, "num_missing of toy is 0, from the stored verdicts it is 8").tasks
    assert score.num_missing == 8


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        # As many right, wrong and graded samples as before, on other problems and with other answers.
        (
            "UPDATE grades SET status = iif(status = 'correct', 'wrong', 'correct') "
            "WHERE (problem_id, sample_index) IN (VALUES ('p0', 0), ('p3', 0))",
            "se",
        ),
        ("UPDATE grades SET extracted = '-0' WHERE problem_id = 'p1' AND status = 'wrong'", "maj"),
        ("UPDATE grades SET status = 'no_answer' WHERE problem_id = 'p1' AND sample_index = 2", "status_rates"),
        ("UPDATE samples SET finish_reason = 'length' WHERE problem_id = 'p1'", "cap_rate"),
        ("UPDATE samples SET token_ids = zeroblob(400) WHERE problem_id = 'p1'", "mean_tokens"),
        ("UPDATE problems SET cluster = problem_id", "num_clusters"),
        ("DELETE FROM grades WHERE problem_id = 'p1'", "num_ungraded"),
    ],
)
def test_other_verdicts_in_the_same_number_are_others(run: Path, sql: str, what: str) -> None:
    verdicts(run, sql)
    assert_not_taken(run, f"{what} of toy is ")


@pytest.mark.parametrize("name", ["avg", "se", "maj", "mean_tokens"])
def test_a_score_changed_by_hand_is_not_shown(run: Path, name: str) -> None:
    rewrite(run, lambda data: data["tasks"][0].update({name: 0.97}))
    future(run)
    assert_not_taken(run, f"{name} of toy is 0.97")


def test_a_mean_changed_by_hand_is_not_shown(run: Path) -> None:
    rewrite(run, lambda data: data["macro"].update(avg=0.97))
    assert_not_taken(run, "its mean over the tasks")


def test_results_of_another_lock_are_not_shown(run: Path, tmp_path: Path) -> None:
    other = fill(tmp_path / "other", 3, seed=1)
    scored(other)
    shutil.copy(other / "results.json", run / "results.json")
    assert_not_taken(run, "is of another run: its lock is")


def test_results_of_a_grader_that_was_not_the_last_are_not_shown(run: Path) -> None:
    fill(run, 3, grader="tbrm-99")
    future(run)
    assert assert_not_taken(run, f"its grader is {GRADER}, the one used last is tbrm-99").grader == "tbrm-99"


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 9}', b"\xff\xfe", b"[]"])
def test_results_that_cannot_be_read_are_named_and_the_store_is_shown(run: Path, content: bytes) -> None:
    (run / "results.json").write_bytes(content)
    assert_not_taken(run, str(run / "results.json"))


def test_results_without_samples_are_shown_and_said_to_be_unchecked(run: Path, tmp_path: Path) -> None:
    wanted = result_from_json((run / "results.json").read_text())
    (run / "samples.sqlite").unlink()
    result, note = shown_result(run)
    assert repr(result) == repr(wanted)
    assert note is not None
    assert "nothing can check it" in note
    with pytest.raises(UserError, match="cannot be checked"):
        current_results(run)
    other = fill(tmp_path / "other", 3, seed=1)
    shutil.copy(other / "run.json", run / "run.json")
    with pytest.raises(UserError, match="is of another run"):
        shown_result(run)


def test_an_incomplete_run_with_current_results_is_current_and_not_complete(tmp_path: Path) -> None:
    run = fill(tmp_path / "run", 3, num_stored=10)
    wanted = scored(run)
    assert repr(current_results(run)[1]) == repr(wanted)
    assert not is_complete(run)
