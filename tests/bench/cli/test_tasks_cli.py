"""`tbench tasks`: every subcommand as a user types it; what a mistake, wrong rows and a wrong grader look like."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tbrm_bench.grading import selftest
from tbrm_bench.records import Gold
from tbrm_bench.tasks.problems import load_problems, rows_hash
from tbrm_bench.tasks.spec import load_suite, load_task, task_names

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tbench: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run `tbench tasks WORDS` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return partial(tbench, "tasks")


def test_list_names_everything_there_is(cli: Cli) -> None:
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    _, as_json, _ = cli("list", "--json")
    tables = json.loads(as_json)
    assert [row["task"] for row in tables["tasks"]] == task_names()
    for name, key in (("tasks", "task"), ("suites", "suite"), ("protocols", "protocol")):
        assert all(row[key] in out for row in tables[name])


@pytest.mark.parametrize("name", task_names())
def test_show_tells_the_source(cli: Cli, name: str) -> None:
    code, out, _ = cli("show", name)
    facts = json.loads(cli("show", name, "--json")[1])
    assert code == 0
    assert facts["title"] in out
    assert str(facts["num_rows"]) in out
    if facts["hub"]:
        assert facts["hub"]["revision"] in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "aime42"], 2, "did you mean"),
        (["check", "--suite", "tbrm7"], 2, "tbrm6"),
        (["check", "--suite", "tbrm6", "--task", "aime24"], 2, "give one of them"),
        (["export", "aime24", "out.jsonl", "--data", "gone"], 2, "gone is not a folder"),
        (["export", "arithmetic", "gone/out.jsonl"], 2, "gone/out.jsonl cannot be written"),
        (["liszt"], 2, "liszt"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, words: list[str], code: int, said: str) -> None:
    left, out, err = cli(*words)
    assert (left, out) == (code, "")
    assert err.startswith("error: ")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_no_command_prints_the_help(cli: Cli) -> None:
    code, out, err = cli()
    assert (code, err) == (2, "")
    assert all(name in out for name in ("list", "show", "check", "export", "digest"))


def test_check_of_generated_rows(cli: Cli) -> None:
    code, out, _ = cli("check", "--task", "arithmetic", "--json")
    (check,) = json.loads(out)
    problems = load_problems(load_task("arithmetic"))
    assert code == 0
    assert check["rows_hash"] == rows_hash(problems)
    assert check["num_golds_passed"] == check["num_problems"] == len(problems)
    assert check["num_forms"] >= 6 * len(problems)
    assert check["failures"] == []


def test_a_grader_that_rejects_a_gold_fails_the_check(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = selftest.surface_forms
    # The fault: every third gold is graded by the forms of another answer.
    monkeypatch.setattr(
        selftest,
        "surface_forms",
        lambda gold: forms(Gold(("17.5",)) if int(gold.answers[0]) % 3 == 0 else gold),
    )
    wrong = [p for p in load_problems(load_task("arithmetic")) if int(p.gold.answers[0]) % 3 == 0]
    code, out, _ = cli("check", "--task", "arithmetic", "--json")
    (check,) = json.loads(out)
    assert code == 1
    assert check["num_golds_passed"] == check["num_problems"] - len(wrong)
    assert check["failures"][0].startswith(f"{wrong[0].key.problem_id}: ")
    code, out, _ = cli("check", "--task", "arithmetic")
    assert code == 1
    assert "FAILED" in out
    assert "more; --json prints all" in out


def test_rows_that_are_not_the_benchmark_fail_the_check_and_the_others_go_on(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "aime24.jsonl").write_text('{"id": 60, "problem": "Invented?", "answer": "1"}\n')
    code, out, _ = cli("check", "--task", "aime24", "--task", "arithmetic", "--data", str(tmp_path))
    assert code == 1
    assert "1 rows found, 30 expected" in out
    assert " ok" in out


def test_rows_that_cannot_be_fetched_are_a_missing_prerequisite(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    code, out, _ = cli("check", "--task", "aime24")
    assert code == 3
    assert "--data" in out


def test_export_writes_what_is_asked_and_graded(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("export", "arithmetic", "out.jsonl")
    assert (code, out) == (0, "")
    assert "out.jsonl" in err
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    problems = load_problems(load_task("arithmetic"))
    assert [(row["id"], row["question"], tuple(row["answers"]), row["cluster"]) for row in rows] == [
        (p.key.problem_id, p.question, p.gold.answers, p.cluster) for p in problems
    ]


def test_digest_prints_the_file_that_is_shipped(cli: Cli, real_data: Path) -> None:
    for name in load_suite("tbrm6").tasks:
        _, out, _ = cli("digest", name, "--data", str(real_data))
        pairs = [line.rpartition(" ") for line in out.splitlines()]
        assert {problem_id: digest for problem_id, _, digest in pairs} == load_task(name).gold_digests()


def test_every_gold_of_the_six_passes_its_own_grader(cli: Cli, real_data: Path) -> None:
    code, out, _ = cli("check", "--suite", "tbrm6", "--data", str(real_data))
    assert code == 0, out
