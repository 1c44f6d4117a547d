"""Which grader? The one used last, in every command: also where it replaced its own verdicts, or was interrupted."""

import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from hub_client import BACKOFF, loopback_hub
from typer.testing import CliRunner

from tbrm_bench.cli.app import app
from tbrm_bench.errors import UserError
from tbrm_bench.grading import GRADER
from tbrm_bench.grading.grader_names import grader_name
from tbrm_bench.leaderboard.add import row_of_run
from tbrm_bench.leaderboard.board import Board
from tbrm_bench.publish import pull_run, push_run, staged_run
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, RunResult, Sample, SampleKey, SampleRequest, Status
from tbrm_bench.resources import data_dir
from tbrm_bench.run.comparison import compare_runs, read_run
from tbrm_bench.run.pipeline import Progress, regrade, run
from tbrm_bench.run.plan import EvalOptions, Plan
from tbrm_bench.run.prepare import prepare
from tbrm_bench.run.results import shown_result
from tbrm_bench.run.second_opinion import ask_second, explain_stored
from tbrm_bench.store import RunStore

STRICT = grader_name(strict_boxed=True)
# Two in three are right, one of them in a box.
TEXTS = ("so \\boxed{%s}.", "The answer is %s.", "The answer is -1.")
PROBLEMS = [Problem(ProblemKey("toy", f"p{i}"), "?", Gold((str(i),), "integer"), f"c{i}") for i in range(4)]


def make_run(folder: Path, *, strict: bool = False, grader: str | None = None) -> Path:
    """Write a run that is not graded yet, or has the wrong verdicts of an earlier grader."""
    about = {"model": "m", "protocol": "first", "strict_boxed": strict, "created": "2026-01-31T10:00:00+00:00"}
    with RunStore.open_writer(folder, lock={"seed": 0, "tasks": {"toy": {}}}, about=about) as store:
        store.put_problems(PROBLEMS, {"toy": 3})
        for problem in PROBLEMS:
            texts = [text.replace("%s", problem.gold.answers[0]) for text in TEXTS]
            store.add_samples(
                Sample(SampleKey(*problem.key, i), 1, text, (1,), "stop", 1) for i, text in enumerate(texts)
            )
    if grader:
        judge_all(folder, grader)
    return folder


def judge_all(folder: Path, grader: str, *, protocol: str | None = None, num: int | None = None) -> None:
    """Give every sample, or the first `num` of them, the verdict wrong, in a pass of this grader."""
    with RunStore.open_grader(folder) as store:
        store.start_pass(grader, protocol=protocol)
        keys = [sample.key for sample in store.samples()][:num]
        store.add_grades([(key, Grade(Status.WRONG, "7", "r")) for key in keys], grader)


def said_by_all(folder: Path) -> tuple[str, Any]:
    """Return the grader and the score that every command takes; they have to agree."""
    shown, _ = shown_result(folder)
    compared = read_run(folder)
    board = Board("b", folder, "t", "", ("toy",), (), "tbrm-")
    row = row_of_run(board, folder)
    average = sum(compared.tasks["toy"].scores.values()) / len(PROBLEMS)
    _, (opinion,) = ask_second(folder, "exact")
    assert shown.grader == compared.grader == row["grader"]
    assert shown.tasks[0].avg == average == sum(row["tasks"]["toy"]["correct"].values()) / (3 * len(PROBLEMS))
    assert opinion.both_correct + opinion.only_ours == round(average * 3 * len(PROBLEMS))
    return shown.grader, average


@pytest.fixture(autouse=True)
def a_task_named_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board looks up how many rows its tasks have."""
    from tbrm_bench.leaderboard import rules
    from tbrm_bench.tasks.spec import load_task

    known = replace(load_task("arithmetic"), num_rows=len(PROBLEMS))
    monkeypatch.setattr(rules, "load_task", lambda name: known)


@pytest.mark.parametrize("others", [["tbrm-0"], [STRICT], [STRICT, "tbrm-0"]])
def test_grading_again_makes_its_grader_the_last(tmp_path: Path, others: list[str]) -> None:
    """Its verdicts replace its own rows, so the others' rows stay the younger ones."""
    folder = make_run(tmp_path / "run")
    regrade(folder)
    assert said_by_all(folder) == (GRADER, pytest.approx(2 / 3))
    for other in others:
        judge_all(folder, other)
        assert said_by_all(folder) == (other, 0)
    judge_all(folder, GRADER)
    regrade(folder)
    assert said_by_all(folder) == (GRADER, pytest.approx(2 / 3))
    with RunStore.open_reader(folder) as store:
        assert store.graders()[-1] == GRADER
        assert set(store.graders()) == {GRADER, *others}


def test_a_strict_run_is_graded_again_strictly(tmp_path: Path) -> None:
    for folder in (make_run(tmp_path / "first", strict=True), make_run(tmp_path / "later")):
        if folder.name == "later":
            regrade(folder)
            judge_all(folder, STRICT, protocol="boxes")
        result, _ = regrade(folder)
        assert said_by_all(folder) == (STRICT, pytest.approx(1 / 3))
        assert result.about["strict_boxed"] is True
        assert explain_stored(folder, SampleKey("toy", "p1", 1))["status"] == Status.NO_ANSWER
    assert result.about["protocol"] == "boxes"


def test_a_pass_that_was_interrupted_is_incomplete_and_mixes_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    regrade(folder)
    judge_all(folder, "tbrm-99", num=5)
    result, note = shown_result(folder)
    assert (result.grader, result.tasks[0].num_ungraded) == ("tbrm-99", 7)
    assert note is not None
    assert f"its grader is {GRADER}, the one used last is tbrm-99" in note
    with pytest.raises(UserError, match="5 of 12 samples"):
        read_run(folder)
    with pytest.raises(UserError, match="its grader is"), staged_run(folder):
        pass
    regrade(folder)  # this version's grader again
    assert said_by_all(folder) == (GRADER, pytest.approx(2 / 3))


def test_verdicts_and_their_grader_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", grader="tbrm-0")
    with RunStore.open_grader(folder) as store:
        store.start_pass("tbrm-99")
        assert store.last_grader() == "tbrm-0"
        with pytest.raises(sqlite3.IntegrityError):
            store.add_grades([(SampleKey("toy", "p0", 0), Grade(Status.WRONG, None, None))], "tbrm-99")  # type: ignore[arg-type]
        assert store.last_grader() == "tbrm-0"


def test_a_run_of_an_earlier_version_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", grader="tbrm-0")
    judge_all(folder, "tbrm-00")
    with sqlite3.connect(folder / "samples.sqlite") as connection:
        connection.execute("DROP TABLE state")
    assert said_by_all(folder)[0] == "tbrm-00"
    regrade(folder)
    assert said_by_all(folder) == (GRADER, pytest.approx(2 / 3))


def test_a_board_takes_the_last_grader_or_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", grader="tbrm-0")
    judge_all(folder, "other-1")
    with pytest.raises(UserError, match=r"was last graded by other-1, board b asks for tbrm-0\*"):
        row_of_run(Board("b", tmp_path, "t", "", ("toy",), (), "tbrm-0"), folder)


def test_a_pulled_run_has_the_last_grader_of_the_pushed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")
    regrade(folder)
    judge_all(folder, STRICT, protocol="boxes")
    with RunStore.open_grader(folder) as store:
        store.start_pass(GRADER, protocol="all")
        store.end_pass()
    result, _ = regrade(folder)
    with loopback_hub(tmp_path, monkeypatch):
        push_run(folder, "ann/results", backoff=BACKOFF)
        pull_run("ann/results", tmp_path / "back", backoff=BACKOFF)
    assert said_by_all(tmp_path / "back") == said_by_all(folder) == (GRADER, pytest.approx(2 / 3))
    back, note = shown_result(tmp_path / "back")
    assert (back.about["protocol"], note) == ("all", None)
    assert back.tasks == result.tasks


class Answers:
    """An engine that answers in or out of a box (an injected model: what counts here is how its text is judged)."""

    def __init__(self, plan: Plan) -> None:
        self.golds = {problem.key: problem.gold.answers[0] for task in plan.tasks for problem in task.problems}
        self.inner = plan.engine

    def identity(self) -> Mapping[str, str | int]:
        return self.inner.identity()

    def generate(self, requests: Iterable[SampleRequest]) -> Generator[list[Sample]]:
        for request in requests:
            text = TEXTS[request.key.sample_index % 2].replace("%s", self.golds[ProblemKey(*request.key[:2])])
            yield [Sample(request.key, request.seed, text, (1,), "stop", len(request.prompt_token_ids))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def evaluate(protocol: Path, out: Path | None, *, samples: int = 2) -> tuple[Plan, RunResult]:
    options = EvalOptions("builtin:tiny", ("arithmetic",), str(protocol), "hf", samples=samples, limit=3, out=out)
    plan = prepare(options)
    return plan, run(replace(plan, engine=Answers(plan)), ignore)


def ignore(progress: Progress) -> None:
    """Observe nothing."""


@pytest.fixture
def protocols(tmp_path: Path) -> tuple[Path, Path]:
    """Two protocols that differ in nothing but the grader, under one name."""
    shipped = (data_dir("tasks") / "protocols" / "quickstart.toml").read_text()
    files = tmp_path / "loose" / "mine.toml", tmp_path / "strict" / "mine.toml"
    for file, text in zip(
        files, (shipped, shipped.replace("strict_boxed = false", "strict_boxed = true")), strict=True
    ):
        file.parent.mkdir()
        file.write_text(text)
    return files


def test_a_strict_run_in_the_folder_of_a_loose_one_says_what_it_is(
    tmp_path: Path, protocols: tuple[Path, Path]
) -> None:
    loose, strict = protocols
    strict = strict.rename(strict.with_name("boxes.toml"))
    for protocol, score in ((loose, 1.0), (strict, 0.5), (loose, 1.0), (strict, 0.5)):
        _, result = evaluate(protocol, tmp_path / "run")
        shown, note = shown_result(tmp_path / "run")
        assert note is None
        assert repr(shown) == repr(result)
        assert (result.grader, result.tasks[0].avg) == (STRICT if protocol is strict else GRADER, score)
        assert result.about["protocol"] == protocol.stem
        assert read_run(tmp_path / "run").grader == result.grader
        printed = CliRunner().invoke(app, ["show", str(tmp_path / "run")], env={"COLUMNS": "120"}).stdout
        assert f"protocol {protocol.stem} " in printed
        assert f"grader {result.grader} " in printed
    assert regrade(tmp_path / "run")[0].grader == STRICT


def test_the_default_folder_tells_protocols_apart_that_differ_in_the_grader(
    tmp_path: Path, protocols: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [evaluate(protocol, None)[0].run_dir for protocol in protocols]
    assert folders[0] != folders[1]
    assert [evaluate(protocol, None)[0].run_dir for protocol in protocols] == folders


def test_resuming_a_run_of_an_earlier_grader_grades_all_of_it_again(
    tmp_path: Path, protocols: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("tbrm_bench.run.pipeline.grader_name", lambda **_: "tbrm-0")
        evaluate(protocols[0], tmp_path / "run")
    _, result = evaluate(protocols[0], tmp_path / "run", samples=4)
    assert (result.grader, result.tasks[0].num_ungraded, result.tasks[0].avg) == (GRADER, 0, 1.0)
    with RunStore.open_reader(tmp_path / "run") as store:
        assert [len(list(store.grades(name))) for name in ("tbrm-0", GRADER)] == [6, 12]


def test_json_says_which_grader(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", strict=True)
    printed = CliRunner().invoke(app, ["grade", str(folder), "--json"])
    said: dict[str, Any] = json.loads(printed.stdout)
    assert said["grader"] == STRICT


UNIT = Problem(ProblemKey("toy", "u"), "?", Gold((r"12 \text{ cm}",), alternatives=(("7",),)), "u")


@pytest.fixture
def policies(tmp_path: Path, protocols: tuple[Path, Path]) -> tuple[Path, Path]:
    """Two protocols of one name, of which the second asks for units."""
    strict = tmp_path / "units" / "mine.toml"
    strict.parent.mkdir()
    strict.write_text(f"{protocols[0].read_text()}\n[policy]\nmissing_unit = false\n")
    return protocols[0], strict


def test_a_policy_changes_the_grader_s_name_and_never_the_lock(
    tmp_path: Path, policies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (loose, _), (units, result) = (evaluate(protocol, None) for protocol in policies)
    assert units.lock == loose.lock
    assert units.run_dir != loose.run_dir
    assert evaluate(policies[1], None)[0].run_dir == units.run_dir
    assert result.grader == f"{GRADER}+no_missing_unit"
    assert (loose.about.get("policy"), units.about["policy"]) == (None, {"missing_unit": False})
    assert regrade(units.run_dir)[0].grader == result.grader
    shown, note = shown_result(units.run_dir)
    assert (shown.grader, shown.about["policy"], note) == (result.grader, {"missing_unit": False}, None)
    with pytest.raises(UserError, match=r"graded by"):
        compare_runs([loose.run_dir, units.run_dir])


def test_a_run_is_graded_again_by_the_policy_of_its_last_grader(tmp_path: Path) -> None:
    about = {"model": "m", "protocol": "first", "strict_boxed": False, "created": "2026-01-31T10:00:00+00:00"}
    folder, key = tmp_path / "run", SampleKey(*UNIT.key, 0)
    with RunStore.open_writer(folder, lock={"seed": 0, "tasks": {"toy": {}}}, about=about) as store:
        store.put_problems([UNIT], {"toy": 2})
        store.add_samples(Sample(replace_index(key, i), 1, text, (1,), "stop", 1) for i, text in enumerate(("12", "7")))
    assert [grade.status for grade in verdicts(folder, regrade(folder)[0].grader)] == [Status.CORRECT] * 2
    judge_all(folder, "tbrm-1+no_missing_unit")
    again = regrade(folder)[0]
    assert again.grader == f"{GRADER}+no_missing_unit"
    assert [grade.status for grade in verdicts(folder, again.grader)] == [Status.WRONG, Status.CORRECT]
    told = explain_stored(folder, key)
    assert (told["status"], told["gold"], told["alternatives"]) == (Status.WRONG, list(UNIT.gold.answers), [["7"]])
    _, (opinion,) = ask_second(folder, "exact")
    assert (opinion.both_correct, opinion.neither_correct) == (0, 1), "no box, so no answer for the second"


def replace_index(key: SampleKey, index: int) -> SampleKey:
    return key._replace(sample_index=index)


def verdicts(folder: Path, grader: str) -> list[Grade]:
    with RunStore.open_reader(folder) as store:
        return [grade for _, grade in sorted(store.grades(grader))]
