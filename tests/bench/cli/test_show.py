"""`tbench show` on runs made by the store itself: current results are read, stale ones computed, nothing is written."""

import json
import os
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tbrm_bench.cli.show import show
from tbrm_bench.errors import UserError
from tbrm_bench.grading import GRADER, GraderPool
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, RunResult, Sample, SampleKey, Status
from tbrm_bench.run.result_json import result_from_json, result_to_json
from tbrm_bench.run.score import score_run
from tbrm_bench.store import RunStore

K = 4
PROBLEMS = [Problem(ProblemKey("toy", f"p{i}"), "?", Gold((str(i),), "integer"), f"c{i // 2}") for i in range(6)]
KEYS = [SampleKey(*problem.key, i) for problem in PROBLEMS for i in range(K)]


def grade_of(key: SampleKey) -> Grade:
    """Problem p0 is never solved, p3 and later always, p1 and p2 once and twice."""
    number = int(key.problem_id[1:])
    solved = key.sample_index < (number if number < 3 else K)
    return Grade(Status.CORRECT, str(number), "integer") if solved else Grade(Status.WRONG, "-1", "integer")


def make_run(run: Path, *, num_stored: int = len(KEYS), num_graded: int | None = None) -> Path:
    with RunStore.open_writer(run, lock={"seed": 0}, about={"model": "m[red]", "strict_boxed": False}) as store:
        store.put_problems(PROBLEMS, {"toy": K})
        stored = KEYS[:num_stored]
        store.add_samples(Sample(key, 1, "text", (5, 6, 7), "stop", 9) for key in stored)
        store.add_grades([(key, grade_of(key)) for key in stored[:num_graded]], GRADER)
    return run


def write_results(run: Path) -> RunResult:
    with RunStore.open_reader(run) as store, GraderPool() as pool:
        result = score_run(store, grader=GRADER, vote_classes=pool.vote_classes)
    (run / "results.json").write_text(result_to_json(result), encoding="utf-8")
    return result


def tbench_show(*words: str) -> Result:
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "80"})


def shown(run: Path) -> RunResult:
    outcome = tbench_show(str(run), "--json")
    assert outcome.exit_code == 0, outcome.output
    return result_from_json(outcome.stdout)


def test_a_run_without_results_is_scored_from_the_store(tmp_path: Path) -> None:
    result = shown(make_run(tmp_path / "a run"))
    (score,) = result.tasks
    assert (result.name, result.grader) == ("a run", GRADER)
    assert (score.num_problems, score.num_clusters, score.num_samples) == (6, 3, K)
    assert score.avg == pytest.approx((0 + 1 + 2 + 3 * 4) / 24)
    assert score.pass_at[K] == pytest.approx(5 / 6)
    assert score.maj == pytest.approx((0 + 0 + 0.5 + 3) / 6)
    assert score.mean_tokens == 3


def test_results_as_new_as_the_store_are_what_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = write_results(run)
    assert repr(shown(run)) == repr(result)
    # Told apart from a computation by a name that only the file knows.
    renamed = result_to_json(result).replace('"name": "run"', '"name": "from the file"')
    (run / "results.json").write_text(renamed, encoding="utf-8")
    assert shown(run).name == "from the file"


def test_results_older_than_the_store_are_computed_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_stored=20)
    assert write_results(run).tasks[0].num_missing == 4
    before = time.time() - 60
    os.utime(run / "results.json", (before, before))
    make_run(run)
    score = shown(run).tasks[0]
    assert (score.num_missing, score.num_ungraded) == (0, 0)


def test_samples_that_are_only_in_the_write_ahead_log_count(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_stored=20)
    write_results(run)
    with RunStore.open_writer(run, lock={"seed": 0}, about={"model": "m[red]", "strict_boxed": False}) as store:
        store.add_samples(Sample(key, 1, "text", (5, 6, 7), "stop", 9) for key in KEYS[20:])
        score = shown(run).tasks[0]  # while the writer is at work
    assert (score.num_missing, score.num_ungraded) == (0, 4)


def test_an_incomplete_run_says_how_much_and_what_to_do(tmp_path: Path) -> None:
    outcome = tbench_show(str(make_run(tmp_path / "run", num_stored=17)))
    assert outcome.exit_code == 0
    assert "incomplete 17/24" in outcome.stdout
    assert "tbench eval" in outcome.stdout
    outcome = tbench_show(str(make_run(tmp_path / "other", num_graded=17)))
    assert "graded 17/24" in outcome.stdout
    assert "tbench grade" in outcome.stdout


def test_the_table_goes_to_stdout_with_names_as_they_are(tmp_path: Path) -> None:
    outcome = tbench_show(str(make_run(tmp_path / "[bold]run")))
    assert outcome.stderr == ""
    assert "[bold]run" in outcome.stdout
    assert "m[red]" in outcome.stdout
    assert "62.5 ±" in outcome.stdout
    assert max(map(len, outcome.stdout.splitlines())) <= 80


def test_json_is_one_document_in_the_form_of_the_file(tmp_path: Path) -> None:
    outcome = tbench_show(str(make_run(tmp_path / "run")), "--json")
    assert json.loads(outcome.stdout)["schema"] == 1


def test_nothing_is_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    kept = {file.name: file.read_bytes() for file in run.iterdir() if file.suffix in (".sqlite", ".json")}
    tbench_show(str(run))
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.suffix in (".sqlite", ".json")} == kept


def failure(run: Path) -> str:
    error = tbench_show(str(run)).exception
    assert isinstance(error, UserError)
    assert "\n" not in str(error)
    return str(error)


def test_what_is_no_run_is_said_so(tmp_path: Path) -> None:
    assert "is not a folder" in failure(tmp_path / "nowhere")
    assert "neither results.json nor samples.sqlite" in failure(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 9}', b"\xff\xfe"])
def test_broken_results_are_named_with_their_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert str(tmp_path / "results.json") in failure(tmp_path)
