"""The run store: what goes in comes out, nothing is stored twice, and only what is missing is asked for."""

import copy
import dataclasses
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, SampleKey, Status
from tbrm_bench.store import RunStore, diff_locks

LOCK = {"seed": 0, "engine": {"name": "vllm"}}
PROBLEMS = [Problem(ProblemKey("toy", f"p{i}"), f"{i}?", Gold((str(i),), "integer"), f"c{i}") for i in range(5)]

anything = st.text(st.characters(codec=None, exclude_categories=()))
HOSTILE = "\0\ud800\udc00 \udfff\r\n\x85\u2028\U0010ffff'"
token_ids = st.lists(st.integers(0, 2**32 - 1), max_size=20).map(tuple)
slowly = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


def writer(run_dir: Path, lock: Any = None) -> RunStore:
    return RunStore.open_writer(run_dir, lock=lock or LOCK, about={"command": ["tbench"], "strict_boxed": False})


def sample(problem: int, index: int, text: str = "text", ids: tuple[int, ...] = (1, 2)) -> Sample:
    return Sample(SampleKey("toy", f"p{problem}", index), 7, text, ids, "stop", 3)


def fresh(tmp_path: Path) -> Path:
    return tmp_path / f"run-{len(list(tmp_path.iterdir()))}"


@slowly
@example(HOSTILE, (0, 2**31, 2**32 - 1), 2**63 - 1, HOSTILE, HOSTILE, "\0 é\n")
@example("", (), -(2**63), "", "", " ")
@given(
    text=anything,
    ids=token_ids,
    seed=st.integers(-(2**63), 2**63 - 1),
    question=anything,
    extracted=anything,
    name=st.text(min_size=1),
)
def test_what_goes_in_comes_out(
    tmp_path: Path, text: str, ids: tuple[int, ...], seed: int, question: str, extracted: str, name: str
) -> None:
    """Every text that Python can hold: NUL, lone surrogates, line ends, nothing. A name is any text of Unicode."""
    problem = Problem(ProblemKey("toy", name), question, Gold((extracted, "2"), "auto", 0.1, 1e-300, "m"), question)
    stored = Sample(SampleKey("toy", name, 0), seed, text, ids, "length", 12)
    grade = Grade(Status.WRONG, extracted, "rule")
    run_dir = fresh(tmp_path)
    with writer(run_dir) as store:
        store.put_problems([problem], {"toy": 1})
        assert list(store.missing("toy")) == [stored.key]
        store.add_samples([stored])
        store.add_grades([(stored.key, grade)], "g")
    with RunStore.open_reader(run_dir) as store:
        assert list(store.problems()) == [problem]
        assert list(store.samples()) == [stored]
        assert list(store.grades("g")) == [(stored.key, grade)]
        graded = next(store.graded("toy", "g"))
        assert (graded.num_tokens, graded.extracted, graded.finish_reason) == (len(ids), extracted, "length")


@slowly
@given(
    k=st.integers(1, 5),
    grown=st.integers(1, 8),
    stored=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4))),
)
def test_missing_is_the_target_less_what_is_stored_in_order(
    tmp_path: Path, k: int, grown: int, stored: set[tuple[int, int]]
) -> None:
    stored = {pair for pair in stored if pair[1] < k}
    with writer(fresh(tmp_path)) as store:
        store.put_problems(PROBLEMS, {"toy": k})
        store.add_samples(sample(*pair) for pair in stored)
        for target in (k, max(k, grown)):
            store.put_problems(PROBLEMS, {"toy": target})
            missing = [(int(key.problem_id[1:]), key.sample_index) for key in store.missing("toy")]
            assert missing == [(p, i) for p in range(5) for i in range(target) if (p, i) not in stored]
        store.put_problems(PROBLEMS, {"toy": 1})
        assert store.num_samples("toy") == max(k, grown), "a target never falls"


def test_problems_are_stored_once_and_tasks_keep_their_order(tmp_path: Path) -> None:
    others = [Problem(ProblemKey("a", "1"), "?", Gold(("1",)), "1")]
    with writer(tmp_path / "run") as store:
        for _ in range(2):
            store.put_problems(PROBLEMS, {"toy": 2})
            store.put_problems(others, {"a": 1})
        assert list(store.problems()) == [*PROBLEMS, *others]
        assert store.tasks() == ["toy", "a"]
        with pytest.raises(UserError, match="another problem toy/p0 than"):
            store.put_problems([dataclasses.replace(PROBLEMS[0], question="another")], {})


def test_a_sample_is_stored_once_and_never_changed(tmp_path: Path) -> None:
    with writer(tmp_path / "run") as store:
        store.put_problems(PROBLEMS, {"toy": 2})
        store.add_samples([sample(0, 0)])
        store.add_samples([sample(0, 0)])
        with pytest.raises(AssertionError, match="twice"):
            store.add_samples([sample(1, 0), sample(0, 0, text="another")])
        assert list(store.samples()) == [sample(0, 0)], "a transaction is stored whole or not at all"


def test_verdicts_of_two_graders_stand_side_by_side(tmp_path: Path) -> None:
    right, wrong = Grade(Status.CORRECT, "1", "exact"), Grade(Status.WRONG, "1", "exact")
    with writer(tmp_path / "run") as store:
        store.put_problems(PROBLEMS, {"toy": 2})
        store.add_samples([sample(0, 0), sample(0, 1)])
        store.add_grades([(sample(0, 0).key, right)], "new")
        store.add_grades([(sample(0, 0).key, wrong), (sample(0, 1).key, wrong)], "old")
        assert dict(store.grades("new")) == {sample(0, 0).key: right}
        assert [s.key for s, gold in store.ungraded("new")] == [sample(0, 1).key]
        assert not list(store.ungraded("old"))
        store.add_grades([(sample(0, 0).key, right)], "old")
        assert dict(store.grades("old"))[sample(0, 0).key] == right, "the same grader replaces its own"
        assert store.graders()[-1] == "old"


def test_ungraded_streams_while_grades_are_added(tmp_path: Path) -> None:
    many = [sample(p, i) for p in range(5) for i in range(300)]
    with writer(tmp_path / "run") as store:
        store.put_problems(PROBLEMS, {"toy": 300})
        store.add_samples(many)
        seen = []
        for one, gold in store.ungraded("g"):
            assert gold.answers == (one.key.problem_id[1:],)
            seen.append(one.key)
            store.add_grades([(one.key, Grade(Status.WRONG, None, "r"))], "g")
        assert seen == [one.key for one in many]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
locks = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


def changed(lock: dict[str, Any], differences: list[tuple[str, Any, Any]]) -> dict[str, Any]:
    """Return the lock with every field that differs set to its second value."""
    lock = copy.deepcopy(lock)
    for path, _, value in differences:
        *parents, field = path.split(".")
        table = lock
        for parent in parents:
            table = table[parent]
        table[field] = value
    return lock


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return value


@given(locks, locks)
def test_the_fields_that_differ_are_all_that_differs(first: dict[str, Any], second: dict[str, Any]) -> None:
    differences = diff_locks(first, second)
    assert without_none(changed(first, differences)) == without_none(second)
    assert all(one != other for _, one, other in differences)
    assert sorted(map(repr, diff_locks(second, first))) == sorted(repr((f, b, a)) for f, a, b in differences)
    assert diff_locks(first, json.loads(json.dumps(first))) == []


def test_the_fields_in_which_locks_differ_are_named() -> None:
    first = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    second = {"a": {"b": 2, "c": [1, 3]}, "e": None, "f": 0}
    assert diff_locks(first, second) == [("a.b", 1, 2), ("a.c", [1, 2], [1, 3]), ("d", 1, None), ("f", None, 0)]


def test_another_lock_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with writer(run_dir) as store:
        store.put_problems(PROBLEMS, {"toy": 1})
    before = {file.name: file.read_bytes() for file in run_dir.iterdir() if file.name != "writer.lock"}
    with pytest.raises(UserError, match=r'engine\.name is "vllm", asked for "hf"'):
        writer(run_dir, {"seed": 0, "engine": {"name": "hf"}})
    assert {file.name: file.read_bytes() for file in run_dir.iterdir() if file.name != "writer.lock"} == before
    with writer(run_dir, {"engine": {"name": "vllm"}, "seed": 0}):
        pass  # the order of keys decides nothing


def test_a_reader_sees_what_is_committed_while_a_writer_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with writer(run_dir) as store:
        store.put_problems(PROBLEMS, {"toy": 3})
        with RunStore.open_reader(run_dir) as reader:
            for index in range(3):
                store.add_samples([sample(0, index)])
                assert reader.count_samples() == index + 1
        with pytest.raises(AssertionError, match="reading"), RunStore.open_reader(run_dir) as reader:
            reader.add_samples([sample(1, 0)])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", b"{", "cannot be read"),
        ("run.json", b"[]", "not a JSON object"),
        ("run.json", b'{"schema": 99}', "99"),
        ("run.json", b'{"schema": 1}', "lacks the key 'lock'"),
        ("run.json", b'{"schema": 1, "lock": {"seed": NaN}}', "NaN"),
        ("run.json", b"[" * 100_000, "cannot be read"),
        ("run.json", b'{"schema": 1, "lock": {"seed": 1}, "about": {}, "lock_hash": "00"}', "changed by hand"),
        ("run.json", b"\xff\xfe", "cannot be read"),
        ("run.json", b'{"schema": 1, "lock": {}, "about": {"a": "\xed\xa0\x80"}}', "cannot be read"),
        ("run.json", '{"schema": 1}'.encode("utf-16"), "cannot be read"),
        ("samples.sqlite", b"no database, but long enough to be one" * 50, "damaged"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    run_dir = tmp_path / "run"
    with writer(run_dir) as store:
        store.put_problems(PROBLEMS, {"toy": 1})
    (run_dir / name).write_bytes(content)
    for open_it in (RunStore.open_reader, RunStore.open_grader):
        with pytest.raises(UserError, match=said) as caught, open_it(run_dir) as store:
            store.count_samples()
        assert "\n" not in str(caught.value)


@slowly
@given(
    content=st.fixed_dictionaries(
        {"schema": st.just(1)}, optional={"lock": json_values, "about": json_values, "lock_hash": json_values}
    )
    | json_values
)
def test_whatever_run_json_holds_it_is_a_run_or_one_line(tmp_path: Path, content: Any) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"run\.json") as caught:
        RunStore.open_reader(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    with writer(tmp_path / "run"):
        pass
    with sqlite3.connect(tmp_path / "run" / "samples.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    for open_it in (RunStore.open_reader, RunStore.open_grader):
        with pytest.raises(UserError, match="schema 99"):
            open_it(tmp_path / "run")


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        writer(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def hold(run_dir: Path, then: Iterable[str] = ("import time; time.sleep(60)",)) -> "subprocess.Popen[str]":
    """Start a process that opens the run for writing, says so, and goes on with `then`."""
    lines = [
        "from pathlib import Path; from tbrm_bench.store import RunStore",
        f"store = RunStore.open_writer(Path({str(run_dir)!r}), lock={LOCK!r}, about={{}})",
        "print('open', flush=True)",
        *then,
    ]
    process = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_writer_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    first = hold(run_dir)
    try:
        with pytest.raises(RunFailed, match=str(first.pid)) as caught:
            writer(run_dir)
        assert caught.value.exit_code == ExitCode.FAILED
        with RunStore.open_reader(run_dir) as reader:
            assert reader.tasks() == []
    finally:
        first.kill()
        first.wait()
    with writer(run_dir) as store:
        assert store.tasks() == []
    assert str(os.getpid()) in (run_dir / "writer.lock").read_text()


def test_what_the_page_says_of_errors_is_what_they_say() -> None:
    root = Path(__file__).resolve().parents[3]
    table = (root / "docs" / "run-directory.md").read_text().split("| it says | do |")[1]
    phrases = [words for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for words in row.split(", ")]
    files = [
        root / "tbrm_bench" / "disk.py",
        root / "tbrm_bench" / "strict_json.py",
        *(root / "tbrm_bench" / "store").glob("*.py"),
    ]
    said = "".join(file.read_text() for file in files)
    assert len(phrases) > 6
    for words in phrases:
        assert re.sub(r"(process)? ?\bN$", "", words).strip() in said, words
