"""A second opinion on a stored run: what is stored, what is listed, and that the other grader can do no harm."""

import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import pytest

from tbrm_bench.cli.app import main
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.grading import GRADER, grade
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, SampleKey, Status
from tbrm_bench.run.pipeline import regrade
from tbrm_bench.run.second_opinion import ask_second, explain_stored, parse_key, total
from tbrm_bench.store import RunStore
from tbrm_bench.store.run_dir import DISAGREEMENTS

GOLD = Gold((r"\frac{1}{2}",))
COMPLETIONS = {
    # completion -> (ours, math-verify), for gold 1/2
    r"so \boxed{\frac{1}{2}}": (True, True),
    r"so \boxed{\frac{1}{3}}": (False, False),
    r"so \boxed{0.5}": (True, True),
    "<think>\\boxed{\\frac12}</think> I cannot say.": (False, True),
}


def store_run(run_dir: Path, texts: Mapping[str, list[str]]) -> Path:
    """Store a graded run: task -> completions to its one problem, whose gold is 1/2."""
    with RunStore.open_writer(run_dir, lock={"a": 1}, about={"strict_boxed": False}) as store:
        for task, completions in texts.items():
            store.put_problems([Problem(ProblemKey(task, "a/b"), "?", GOLD, "a/b")], {task: len(completions)})
            samples = [
                Sample(SampleKey(task, "a/b", i), 1, text, (1,), "stop", 1) for i, text in enumerate(completions)
            ]
            store.add_samples(samples)
            store.add_grades([(one.key, grade(one.text, GOLD)) for one in samples], GRADER)
    return run_dir


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return store_run(tmp_path / "run", {"toy": list(COMPLETIONS), "easy": [r"\boxed{\frac{1}{2}}"]})


class Tbench(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *words: str | Path) -> tuple[int, str, str]:
        """Return exit code, standard output, standard error."""


@pytest.fixture
def tbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tbench:
    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run


def disagreements(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / DISAGREEMENTS).read_text().splitlines()]


def test_what_a_person_should_look_at_is_listed_with_both_readings(stored: Path) -> None:
    file, (toy, easy) = ask_second(stored, "math-verify")
    assert file == stored / DISAGREEMENTS
    (row,) = disagreements(stored)
    apart = [i for i, (ours, theirs) in enumerate(COMPLETIONS.values()) if ours != theirs]
    assert [row["sample_index"]] == apart
    assert row["gold"] == list(GOLD.answers)
    assert (row["ours"]["status"], row["ours"]["rule"]) == (Status.NO_ANSWER, "none")
    assert (row["second"]["status"], row["second"]["rule"]) == (Status.CORRECT, "value")
    assert row["second"]["extracted"] == r"\frac{1}{2}"
    assert (row["second"]["answer_form"], row["ours"]["gold_form"], row["second"]["gold_form"]) == ("1/2",) * 3
    assert row["tail"].endswith("I cannot say.")
    assert set(row["ours"]) == set(row["second"])
    assert (toy.num_samples, toy.both_correct, toy.neither_correct, toy.only_second) == (4, 2, 1, 1)
    assert toy.agreement == pytest.approx(3 / 4)
    assert easy.agreement == 1
    assert total([toy, easy]).agreement == pytest.approx(4 / 5)


def test_every_sample_is_counted_once(stored: Path) -> None:
    for second in ("exact", "math-verify"):
        for task in ask_second(stored, second)[1]:
            outcomes = (task.both_correct, task.neither_correct, task.only_ours, task.only_second, task.num_failed)
            assert sum(outcomes) == task.num_samples


def test_its_verdicts_are_stored_under_its_name_and_version_and_touch_no_score(stored: Path, tbench: Tbench) -> None:
    regrade(stored)
    before, shown = (stored / "results.json").read_bytes(), tbench("show", stored, "--json")
    ask_second(stored, "math-verify")
    ask_second(stored, "exact")
    assert (stored / "results.json").read_bytes() == before
    assert tbench("show", stored, "--json") == shown
    os.utime(stored / "results.json", (1, 1))  # now the table is computed from the store
    assert tbench("show", stored, "--json") == shown
    with RunStore.open_reader(stored) as store:
        assert store.graders() == [GRADER], "no command takes an opinion for a score"
        name = f"second/math-verify-{version('math-verify')}"
        statuses = [found.status for key, found in sorted(store.grades(name)) if key.task == "toy"]
        assert [status == Status.CORRECT for status in statuses] == [theirs for _, theirs in COMPLETIONS.values()]
        assert len(dict(store.grades("second/exact-1"))) == 5


def test_stale_results_stay_stale(stored: Path) -> None:
    regrade(stored)
    os.utime(stored / "results.json", (1, 1))
    ask_second(stored, "exact")
    assert (stored / "results.json").stat().st_mtime == 1


def test_the_exact_grader_differs_where_the_text_does(stored: Path) -> None:
    _, (toy, _) = ask_second(stored, "exact")
    assert (toy.only_ours, toy.only_second) == (1, 0)
    assert [row["ours"]["extracted"] for row in disagreements(stored)] == ["0.5"]


HOSTILE = [
    r"\boxed{9^{9^{9^{9^9}}}}",
    r"\boxed{(10^{10})!}",
    r"\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}",
    r"\boxed{\frac{1}{" * 500,
    "\\boxed{\ud800\0}",
    r"\boxed{" + "9" * 90_000 + "}",
    r"$" + "{" * 5000 + "}" * 5000 + "$",
]


def test_a_grader_that_hangs_or_dies_costs_its_own_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """math-verify with its own timeouts off, on what makes it hang: it ends, and every other sample is judged."""
    monkeypatch.setattr("tbrm_bench.run.second_opinion.TIME_LIMIT_S", 1.0)
    texts = [text for bomb in HOSTILE for text in (bomb, r"so \boxed{0.5}")]
    run_dir = store_run(tmp_path / "run", {"toy": texts})
    _, (toy,) = ask_second(run_dir, "math-verify")
    with RunStore.open_reader(run_dir) as store:
        name = f"second/math-verify-{version('math-verify')}"
        statuses = [found.status for _, found in sorted(store.grades(name))]
    assert statuses[1::2] == [Status.CORRECT] * len(HOSTILE)
    assert Status.CORRECT not in statuses[::2]
    assert toy.num_failed == sum(status in (Status.TIMEOUT, Status.ERROR) for status in statuses) > 0
    assert toy.only_ours == 0


def test_ours_without_a_verdict_is_no_disagreement_but_is_listed(stored: Path) -> None:
    key = SampleKey("easy", "a/b", 0)
    with RunStore.open_grader(stored) as store:
        store.add_grades([(key, Grade(Status.TIMEOUT, "1", "time_limit"))], GRADER)
    _, tasks = ask_second(stored, "exact")
    assert [(task.num_failed, task.only_second) for task in tasks if task.task == "easy"] == [(1, 0)]
    assert [row["task"] for row in disagreements(stored)].count("easy") == 1


def test_the_command_prints_a_table_or_json(stored: Path, tbench: Tbench) -> None:
    code, shown, _ = tbench("grade", stored, "--second", "exact")
    assert code == 0
    assert "only theirs" in shown
    assert "75.00" in shown
    found = json.loads(tbench("grade", stored, "--second", "exact", "--json")[1])
    assert [task["task"] for task in found["tasks"]] == ["toy", "easy"]
    assert found["all"]["agreement"] == pytest.approx(4 / 5)
    assert Path(found["file"]).is_file()


def test_unknown_graders_and_runs_without_verdicts(stored: Path, tmp_path: Path, tbench: Tbench) -> None:
    with pytest.raises(UserError, match="did you mean 'math-verify'"):
        ask_second(stored, "mathverify")
    with RunStore.open_writer(tmp_path / "empty", lock={}, about={"strict_boxed": False}):
        pass
    with pytest.raises(UserError, match="no verdicts yet"):
        ask_second(tmp_path / "empty", "exact")
    assert tbench("grade", tmp_path / "nowhere", "--second", "exact")[0] == 2


def test_a_run_that_is_being_written_is_refused(stored: Path, tbench: Tbench) -> None:
    with RunStore.open_grader(stored):
        for command in (lambda: ask_second(stored, "exact"), lambda: regrade(stored)):
            with pytest.raises(RunFailed, match="is being written by"):
                command()
        words: list[list[str]] = [[], ["--second", "exact"]]
        for options in words:
            code, shown, told = tbench("grade", stored, *options)
            assert (code, shown) == (1, "")
            assert told.startswith("error: ")
        assert tbench("explain", stored, "toy/a/b/2")[0] == 0, "reading is no writing"
    assert not (stored / DISAGREEMENTS).exists()


def test_regrading_tells_which_verdicts_turned(stored: Path, tbench: Tbench) -> None:
    """One is made wrong by hand and another a timeout: both come back, counted by what they turned from and to."""
    with RunStore.open_grader(stored) as store:
        store.add_grades([(SampleKey("toy", "a/b", 0), Grade(Status.WRONG, "7", "integer"))], GRADER)
        store.add_grades([(SampleKey("toy", "a/b", 1), Grade(Status.TIMEOUT, "7", "time_limit"))], GRADER)
    found = json.loads(tbench("grade", stored, "--json")[1])
    assert found["num_changed"] == 2
    transitions = {(row["before"], row["after"]): row["count"] for row in found["transitions"]}
    assert transitions == {("wrong", "correct"): 1, ("timeout", "wrong"): 1}
    assert [(row["sample_index"], row["before_rule"]) for row in found["changes"]] == [
        (0, "integer"),
        (1, "time_limit"),
    ]
    code, shown, told = tbench("grade", stored)
    assert code == 0
    assert "0 verdicts changed" in told
    assert "toy" in shown


def test_a_stored_verdict_is_explained(stored: Path, tbench: Tbench) -> None:
    with RunStore.open_grader(stored) as store:
        store.add_grades([(SampleKey("toy", "a/b", 2), Grade(Status.WRONG, "7", "integer"))], GRADER)
    found = explain_stored(stored, parse_key("toy/a/b/2"))
    assert (found["extracted"], found["answer_form"], found["gold_form"]) == ("0.5", "1/2", "1/2")
    assert (found["status"], found["rule"], found["source"]) == (Status.CORRECT, "rational", "boxed")
    assert found["stored"][GRADER]["status"] == Status.WRONG
    shown = tbench("explain", stored, "toy/a/b/2")[1]
    for part in ("0.5, in the last box", r"\frac{1}{2}, read as 1/2", "rule 'rational'", f"wrong by {GRADER}"):
        assert part in shown
    assert json.loads(tbench("explain", stored, "toy/a/b/2", "--json")[1]) == found


@pytest.mark.parametrize("where", ["toy", "toy/p", "toy/p/x", "p/1", "toy//1", "toy/p/-1", "toy/p/²"])
def test_a_sample_is_named_in_one_way(where: str) -> None:
    with pytest.raises(UserError, match="TASK/PROBLEM_ID/SAMPLE_INDEX"):
        parse_key(where)


def test_a_sample_that_is_not_there(stored: Path, tbench: Tbench) -> None:
    with pytest.raises(UserError, match="toy/a/b/99"):
        explain_stored(stored, parse_key("toy/a/b/99"))
    with pytest.raises(UserError, match="tasks toy, easy"):
        explain_stored(stored, parse_key("tiy/a/b/0"))
    code, shown, told = tbench("explain", stored, "toy/a/b/99")
    assert (code, shown, told.count("\n")) == (2, "", 1)
    code, shown, told = tbench("grade", stored, "--explain")
    assert (code, shown, f"tbench explain {stored} " in told) == (2, "", True), "the old spelling says the new one"
