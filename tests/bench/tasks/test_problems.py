"""Rows become problems or one clear line: laws over invented rows, and the real ones where they are at hand."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import MissingPrerequisite, UserError
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.tasks import golds, problems
from tbrm_bench.tasks.golds import canonical_gold, gold_digest
from tbrm_bench.tasks.problems import assign_clusters, golds_hash, load_problems, rows_hash, why_repeated
from tbrm_bench.tasks.spec import ClusterRule, Columns, Erratum, HubSource, TaskSpec, load_task

ROWS: list[dict[str, Any]] = [
    {"id": 7, "problem": "What is 20 + 3?", "answer": "023"},
    {"id": 8, "problem": "What is 2 - 5?", "answer": "-3"},
    {"id": 9, "problem": "What is 9 * 9?", "answer": "81"},
]
SPEC = TaskSpec(
    name="sums",
    title="Sums",
    source="invented",
    paper="",
    licence="none",
    notes="",
    num_rows=3,
    answer_kind="integer",
    cluster_rule="none",
    gold_rule="integer",
    files=("sums.jsonl", "sums.parquet"),
    columns=Columns(
        question=("problem", "question"), answer=("answer", "gold"), solution=("solution",), id=("id",), unit=("unit",)
    ),
)
Load = Callable[..., list[Problem]]


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load rows as the task `sums`, whose digests are those of ROWS."""
    digests = {str(row["id"]): gold_digest("sums", str(row["id"]), row["answer"]) for row in ROWS}
    monkeypatch.setattr(TaskSpec, "gold_digests", lambda _: digests)

    def call(rows: list[dict[str, Any]], spec: TaskSpec = SPEC) -> list[Problem]:
        write(tmp_path, rows)
        return load_problems(spec, data_dir=tmp_path)

    return call


def test_rows_become_problems_in_their_order(load: Load) -> None:
    first, second, third = load(ROWS)
    assert first == Problem(ProblemKey("sums", "7"), "What is 20 + 3?", Gold(("23",), kind="integer"), cluster="7")
    assert [second.gold.answers, third.gold.answers] == [("-3",), ("81",)]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "answer": f"{int(row['answer'])}"},
        lambda row: {**row, "answer": float(row["answer"])},
        lambda row: {**row, "answer": f"${row['answer']}$"},
        lambda row: {"id": row["id"], "question": row["problem"], "gold": row["answer"]},
        lambda row: {
            **{k: row[k] for k in ("id", "problem")},
            "solution": f"\\boxed{{1}}, no: \\boxed{{{row['answer']}}}.",
        },
        lambda row: {k: row[k] for k in ("problem", "answer")},
        lambda row: {**row, "id": str(row["id"]), "more": None},
        lambda row: {**row, "id": f"other-{row['id']}"},
    ],
    ids=[
        "unpadded",
        "float",
        "dollars",
        "other-columns",
        "boxed-solution",
        "no-id-column",
        "more-columns",
        "other-ids",
    ],
)
def test_what_differs_between_sources_of_one_benchmark_does_not_differ_in_problems(
    load: Load, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    assert load([change(row) for row in ROWS]) == load(ROWS)


def test_jsonl_and_parquet_hold_the_same_problems(load: Load, tmp_path: Path) -> None:
    from_jsonl = load(ROWS)
    (tmp_path / "sums.jsonl").unlink()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "sums.parquet")
    assert load_problems(SPEC, data_dir=tmp_path) == from_jsonl


def test_a_folder_in_the_shape_of_the_hub_is_read_by_its_loader(load: Load, tmp_path: Path) -> None:
    from_jsonl = load(ROWS)
    hub = tmp_path / "hub"
    hub.mkdir()
    shutil.copy(tmp_path / "sums.jsonl", hub / "test.jsonl")
    spec = replace(SPEC, hub=HubSource(repo=str(hub), split="test", revision="main"))
    assert load_problems(spec) == from_jsonl
    (hub / "test.jsonl").unlink()
    gaps = [{**row, "unit": float("nan"), "solution": None} for row in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(gaps), hub / "test.parquet")
    assert load_problems(spec) == from_jsonl


@pytest.mark.usefixtures("load")
def test_the_hub_out_of_reach_says_what_to_do_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(MissingPrerequisite) as raised:
        load_problems(load_task("math500"))
    for part in ("math500", "HuggingFaceH4/MATH-500", "--data", "math500.jsonl", "Couldn't reach the Hub"):
        assert part in str(raised.value)
    with pytest.raises(MissingPrerequisite, match=r"holds sums.jsonl or sums.parquet with --data"):
        load_problems(SPEC)


NO_ANSWER = {"id": 9, "problem": "What is 9 * 9?"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROWS[0], "{broken", ROWS[2]], ["sums.jsonl:2", "not a JSON object"]),
        ([ROWS[0], "[1, 2]", ROWS[2]], ["sums.jsonl:2", "a JSON list"]),
        ([ROWS[0], "[" * 100_000, ROWS[2]], ["sums.jsonl:2"]),
        ([{**ROWS[1], "id": 1}, {**ROWS[0], "id": 2}, {**ROWS[2], "id": 3}], ["gold of 7 at sums.jsonl:1 is '-3'"]),
        (ROWS[:2], ["2 rows found, 3 expected", "missing: 9"]),
        ([], ["0 rows found, 3 expected"]),
        ([*ROWS, {**ROWS[0], "id": 10}], ["4 rows found, 3 expected", "not of the task: 10"]),
        ([*ROWS[:2], ROWS[1]], ["'8'", "sums.jsonl:2", "sums.jsonl:3"]),
        ([*ROWS[:2], {**ROWS[2], "id": 5}], ["sums.jsonl:3", "'5'", "'9'"]),
        ([*ROWS[:2], {**ROWS[2], "problem": " "}], ["question of 9", "sums.jsonl:3", "empty"]),
        ([*ROWS[:2], {**ROWS[2], "problem": None}], ["question of 9", "empty"]),
        ([*ROWS[:2], {**NO_ANSWER, "answer": None}], ["sums.jsonl:3", ": no answer"]),
        ([*ROWS[:2], {**NO_ANSWER, "answer": ""}], ["sums.jsonl:3", ": no answer"]),
        ([*ROWS[:2], {**NO_ANSWER, "solution": "\\boxed{81"}], ["sums.jsonl:3", "no closed \\boxed{}"]),
        ([*ROWS[:2], {**NO_ANSWER, "reply": 81}], ["answer or gold or solution expected", "id, problem, reply"]),
        ([*ROWS[:2], {"id": 9, "prompt": "?", "answer": 81}], ["problem or question expected", "id, prompt, answer"]),
        ([*ROWS[:2], {**ROWS[2], "answer": "eighty"}], ["9 at sums.jsonl:3", "'eighty'", "integer"]),
        ([*ROWS[:2], {**ROWS[2], "answer": "82"}], ["gold of 9 at sums.jsonl:3 is '82'", "digest"]),
        ([ROWS[0], {**ROWS[1], "answer": 3}, {**ROWS[2], "answer": "82"}], ["gold of 8", "is 3", "and 1 more differ"]),
    ],
)
def test_rows_that_are_not_the_benchmark_are_told_by_row(
    load: Load, tmp_path: Path, rows: list[dict[str, Any] | str], said: list[str]
) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (tmp_path / "sums.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError) as raised:
        load_problems(SPEC, data_dir=tmp_path)
    for part in said:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("load")
def test_a_folder_without_the_file_or_with_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no sums.jsonl or sums.parquet \(found: nothing\)"):
        load_problems(SPEC, data_dir=tmp_path)
    (tmp_path / "sums.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"sums.parquet cannot be read as Parquet"):
        load_problems(SPEC, data_dir=tmp_path)
    (tmp_path / "sums.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"both sums.jsonl and sums.parquet"):
        load_problems(SPEC, data_dir=tmp_path)
    (tmp_path / "sums.parquet").unlink()
    with pytest.raises(UserError, match=r"sums.jsonl cannot be read"):
        load_problems(SPEC, data_dir=tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        load_problems(SPEC, data_dir=tmp_path / "gone")


@pytest.mark.usefixtures("load")
def test_line_ends_inside_a_string_do_not_end_a_row(tmp_path: Path) -> None:
    rows = [{**row, "problem": f"{row['problem']}\u2028\x85?"} for row in ROWS]
    (tmp_path / "sums.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    assert load_problems(SPEC, data_dir=tmp_path)[0].question == "What is 20 + 3?\u2028\x85?"


def test_an_erratum_corrects_the_old_value_leaves_the_new_one_and_refuses_any_other(load: Load) -> None:
    spec = replace(SPEC, errata=(Erratum("9", "answer", old="18", new="81", provenance="digits swapped"),))
    for old in ("18", 18.0, "018", "$18$"):
        assert load([*ROWS[:2], {**ROWS[2], "answer": old}], spec) == load(ROWS)
    assert load([*ROWS[:2], {**NO_ANSWER, "solution": "\\boxed{18}"}], spec) == load(ROWS)
    assert load(ROWS, spec) == load(ROWS)
    with pytest.raises(UserError, match=r"answer of 9 at sums.jsonl:3 is '19', neither '18' nor its correction '81'"):
        load([*ROWS[:2], {**ROWS[2], "answer": "19"}], spec)
    asked = replace(SPEC, errata=(Erratum("7", "question", old="Whats 20 + 3?", new="What is 20 + 3?", provenance=""),))
    assert load([{**ROWS[0], "problem": "Whats 20 + 3?"}, *ROWS[1:]], asked) == load(ROWS)


def test_an_erratum_of_a_part_replaces_only_that_and_leaves_a_text_without_it(load: Load) -> None:
    row = {**ROWS[1], "problem": ROWS[1]["problem"] + ',"-3"'}
    erratum = Erratum("8", "question", ',"-3"', "", "the answer is in the question", part=True)
    spec = replace(SPEC, errata=(erratum,))
    assert load([ROWS[0], row, ROWS[2]], spec) == load(ROWS, spec) == load(ROWS)


@pytest.mark.parametrize("rule", ["none", "preamble-60", "builtin"])
def test_rows_that_say_the_same_twice_are_one_draw_and_named(rule: ClusterRule) -> None:
    def problem(name: str, question: str, gold: str) -> Problem:
        return Problem(ProblemKey("sums", name), question, Gold((gold,)), cluster=name)

    rows = [problem("a", "2+2?", "4"), problem("b", "3+3?", "6"), problem("c", "2+2?", "4"), problem("d", "2+2", "5")]
    clustered = assign_clusters(rows, rule)
    assert [p.cluster for p in clustered] == ["a", "b", "a", "d"]
    said = why_repeated(clustered)
    assert "task sums: 1 of 4 problems repeat" in said
    assert "c (as a)" in said
    assert "\n" not in said
    assert why_repeated(rows[:2]) == ""


def test_each_gold_is_found_normalised_and_digested_once(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass: row, raw gold, gold, problem; errata and digests look at the same raw gold."""
    calls: Counter[str] = Counter()

    def count(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def counted(*args: Any, **given: Any) -> Any:
            calls[name] += 1
            return function(*args, **given)

        monkeypatch.setattr(module, name, counted)

    for module, name in ((problems, "raw_gold"), (golds, "normalize_gold"), (golds, "gold_digest")):
        count(module, name)
    errata = tuple(Erratum(str(row["id"]), "answer", "18", row["answer"], provenance="") for row in ROWS)
    load(ROWS, replace(SPEC, errata=errata))
    assert calls == dict.fromkeys(("raw_gold", "normalize_gold", "gold_digest"), len(ROWS))


def test_tolerance_unit_and_context_come_from_the_row(load: Load) -> None:
    columns = Columns(
        question=("problem",),
        answer=("answer",),
        id=("id",),
        context=("context",),
        unit=("unit",),
        abs_tolerance=("error",),
    )
    spec = replace(SPEC, columns=columns, abs_tolerance=0.5, rel_tolerance=0.25)
    told = {**ROWS[0], "context": "Count.", "unit": "km", "error": "1e-1"}
    first, second, _ = load([told, {**ROWS[1], "context": None, "unit": None, "error": None}, ROWS[2]], spec)
    assert first.question == "Count.\n\nWhat is 20 + 3?"
    assert (first.gold.unit, first.gold.abs_tolerance, first.gold.rel_tolerance) == ("km", 0.1, 0.25)
    assert (second.question, second.gold.unit, second.gold.abs_tolerance) == ("What is 2 - 5?", "", 0.5)
    exact = load([{**told, "error": 0}, *ROWS[1:]], spec)[0]
    assert exact.gold.abs_tolerance == 0, "a row's own 0 counts, not the task's"
    for wrong in ("wide", "-1", "nan", "inf", True, False):
        with pytest.raises(UserError, match=f"tolerance {wrong!r}"):
            load([{**told, "error": wrong}, *ROWS[1:]], spec)


OPTIONAL = Columns(
    question=("problem", "question"),
    answer=("answer", "gold"),
    solution=("solution",),
    id=("id",),
    context=("context",),
    unit=("unit",),
    abs_tolerance=("error",),
)
NAN = float("nan")


@pytest.mark.parametrize("gap", [NAN, None], ids=["nan", "null"])
@pytest.mark.parametrize("name", ["context", "unit", "error", "question", "gold", "solution", "somebody-elses"])
def test_a_missing_value_is_no_different_from_an_absent_column(
    load: Load, tmp_path: Path, name: str, gap: float | None
) -> None:
    spec = replace(SPEC, columns=OPTIONAL)
    untouched = load(ROWS, spec)
    # Another row has the value, as where pandas has joined two tables; then the first row's is no mistake.
    rows = [{**ROWS[0], name: gap}, *ROWS[1:]]
    assert load(rows, spec) == untouched
    assert load([{**row, name: gap} for row in ROWS], spec) == untouched
    (tmp_path / "sums.jsonl").unlink()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "sums.parquet")
    assert load_problems(spec, data_dir=tmp_path) == untouched
    (tmp_path / "sums.parquet").unlink()


@pytest.mark.parametrize("gap", [NAN, None], ids=["nan", "null"])
def test_joined_tables_are_read_by_the_column_that_has_the_value(load: Load, gap: float | None) -> None:
    spec = replace(SPEC, columns=OPTIONAL)
    first = {"id": 7.0, "problem": gap, "question": ROWS[0]["problem"], "answer": gap, "gold": "023"}
    second = {"id": 8.0, "problem": ROWS[1]["problem"], "answer": -3.0, "solution": gap}
    third = {"id": 9.0, "problem": ROWS[2]["problem"], "answer": gap, "solution": r"so \boxed{81}"}
    assert load([first, second, third], spec) == load(ROWS, spec)
    listed = replace(spec, gold_rule="latex")
    assert load([ROWS[0], {**ROWS[1], "answer": [gap, "-3", gap]}, ROWS[2]], listed) == load(ROWS, listed)
    # A column of ids without any is no column of ids: the task's, in its order.
    assert load([{**row, "id": gap} for row in ROWS], spec) == load(ROWS, spec)


@pytest.mark.parametrize("gap", [NAN, None], ids=["nan", "null"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("id", "sums.jsonl:3: no id: id is empty (null or NaN)"),
        ("problem", "sums.jsonl:3: no question of 9: problem is empty (null or NaN)"),
        ("answer", "sums.jsonl:3: no answer: answer is empty (null or NaN)"),
    ],
)
def test_a_row_without_what_it_needs_is_named_with_its_column(load: Load, name: str, said: str, gap: Any) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        load([*ROWS[:2], {**ROWS[2], name: gap}])


@pytest.mark.parametrize("text", ["nan", "NaN", "None", "<NA>", "NaT", "null"])
@pytest.mark.parametrize("name", ["id", "problem", "answer", "context", "unit", "error"])
def test_the_text_of_a_missing_value_is_never_taken_for_one_nor_for_text(load: Load, name: str, text: str) -> None:
    with pytest.raises(UserError, match=r"sums\.jsonl:2") as raised:
        load([ROWS[0], {**ROWS[1], name: text}, ROWS[2]], replace(SPEC, columns=OPTIONAL, gold_rule="latex"))
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("name", ["context", "unit"])
@pytest.mark.parametrize("value", [3.5, ["km"], {"km": 1}, True], ids=repr)
def test_what_is_no_text_does_not_become_text(load: Load, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"sums.jsonl:2: the {name} is .*, not text"):
        load([ROWS[0], {**ROWS[1], name: value}, ROWS[2]], replace(SPEC, columns=OPTIONAL))


PROBLEM = Problem(ProblemKey("t", "1"), "Q", Gold(("1",), "integer", 0.0, 0.0, ""), "1")


@pytest.mark.parametrize(
    "other",
    [
        replace(PROBLEM, key=ProblemKey("t", "2")),
        replace(PROBLEM, question="Q "),
        replace(PROBLEM, cluster="2"),
        replace(PROBLEM, gold=Gold(("2",), "integer")),
        replace(PROBLEM, gold=Gold(("1", "1"), "integer")),
        replace(PROBLEM, gold=Gold(("1",), "auto")),
        replace(PROBLEM, gold=Gold(("1",), "integer", abs_tolerance=0.1)),
        replace(PROBLEM, gold=Gold(("1",), "integer", rel_tolerance=0.1)),
        replace(PROBLEM, gold=Gold(("1",), "integer", unit="km")),
    ],
)
def test_whatever_decides_a_score_is_in_the_rows_hash(other: Problem) -> None:
    assert rows_hash([PROBLEM]) != rows_hash([other])
    same_gold = other.gold == PROBLEM.gold and other.key == PROBLEM.key
    assert (golds_hash([PROBLEM]) == golds_hash([other])) == same_gold


@given(st.permutations(range(6)))
def test_the_order_of_rows_is_not_in_the_rows_hash(order: list[int]) -> None:
    rows = [replace(PROBLEM, key=ProblemKey("t", str(index))) for index in range(6)]
    assert rows_hash(rows) == rows_hash([rows[index] for index in order])


@given(st.lists(st.text("ab", min_size=58, max_size=63), min_size=1, max_size=8))
def test_a_cluster_is_a_shared_preamble_named_by_its_first_problem(questions: list[str]) -> None:
    rows = [replace(PROBLEM, key=ProblemKey("t", str(i)), question=text) for i, text in enumerate(questions)]
    clustered = assign_clusters(rows, "preamble-60")
    for p in clustered:
        for q in clustered:
            assert (p.cluster == q.cluster) == (p.question[:60] == q.question[:60])
        assert int(p.cluster) <= int(p.key.problem_id)
    alone = [replace(p, gold=Gold((p.key.problem_id,))) for p in rows]
    assert [p.cluster for p in assign_clusters(alone, "none")] == [p.key.problem_id for p in rows]
    assert assign_clusters(rows, "builtin") == rows


@given(st.integers(), st.integers(0, 5))
def test_an_integer_gold_has_one_canonical_spelling(number: int, zeros: int) -> None:
    padded = f"-{'0' * zeros}{-number}" if number < 0 else "0" * zeros + str(number)
    assert {canonical_gold(text) for text in (number, padded, f" ${padded}$", f"{padded}.0")} == {str(number)}
    assert canonical_gold(f"{number}.5") != canonical_gold(number)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_digest_tells_golds_of_different_problems_apart(one: str, other: str) -> None:
    assert (gold_digest("t", one, "5") == gold_digest("t", other, "5")) == (one == other)


def test_generated_rows_are_the_same_every_time() -> None:
    spec = load_task("arithmetic")
    rows = load_problems(spec)
    assert len(rows) == spec.num_rows == len({p.key for p in rows})
    assert rows_hash(rows) == rows_hash(load_problems(spec))


def test_an_integer_rule_never_sees_a_gold_before_its_erratum(load: Load) -> None:
    spec = replace(SPEC, errata=(Erratum("9", "answer", old="LXXXI", new="81", provenance="a Roman numeral"),))
    assert load([*ROWS[:2], {**ROWS[2], "answer": "LXXXI"}], spec) == load(ROWS)


OTHERS = replace(SPEC.columns or Columns(("",)), alternatives=("others",))
WITH_OTHERS = replace(SPEC, name="mine", columns=OTHERS)


def test_a_column_of_alternatives_holds_golds_of_which_any_is_enough(tmp_path: Path) -> None:
    others: list[Any] = [["007", "23", "7"], None, 5.0]
    write(tmp_path, [row | {"others": other} for row, other in zip(ROWS, others, strict=True)])
    first, second, third = load_problems(WITH_OTHERS, data_dir=tmp_path)
    assert first.gold == Gold(("23",), kind="integer", alternatives=(("7",),)), "normalised, each once"
    assert (second.gold.alternatives, third.gold.alternatives) == ((), (("5",),))


def test_a_list_of_accepted_answers_may_be_all_there_is(tmp_path: Path) -> None:
    spec = replace(WITH_OTHERS, columns=replace(OTHERS, answer=(), solution=()), gold_rule="latex", answer_kind="auto")
    rows = [{"id": row["id"], "problem": row["problem"], "others": ["1/2", ["3", "4"], "0.5"]} for row in ROWS]
    write(tmp_path, rows)
    assert load_problems(spec, data_dir=tmp_path)[0].gold == Gold(("1/2",), alternatives=(("3", "4"), ("0.5",)))
    for bad in ([], [None], ["1", ""], None):
        write(tmp_path, [*rows[:2], rows[2] | {"others": bad}])
        with pytest.raises(UserError, match=r"sums\.jsonl:3"):
            load_problems(spec, data_dir=tmp_path)


def test_alternatives_are_part_of_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row | {"others": ["5"]} for row in ROWS]
    write(tmp_path, rows)
    lines = problems.digest_lines(WITH_OTHERS, tmp_path)
    monkeypatch.setattr(TaskSpec, "gold_digests", lambda _: dict(line.split() for line in lines))
    kept = rows_hash(load_problems(WITH_OTHERS, data_dir=tmp_path))
    write(tmp_path, [*rows[:2], rows[2] | {"others": ["6"]}])
    with pytest.raises(UserError, match=r"gold of 9 at sums\.jsonl:3 is '81' or '6'"):
        load_problems(WITH_OTHERS, data_dir=tmp_path)
    monkeypatch.setattr(TaskSpec, "gold_digests", lambda _: {})
    assert rows_hash(load_problems(WITH_OTHERS, data_dir=tmp_path)) != kept
