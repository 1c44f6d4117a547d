"""Task files: all that are shipped hold together, and a mistake in one is told with its place and the way out."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tbrm_bench.config import load_toml
from tbrm_bench.errors import UserError
from tbrm_bench.prompts.protocol import protocol_names
from tbrm_bench.tasks.problems import example_problem
from tbrm_bench.tasks.spec import (
    Columns,
    Erratum,
    HubSource,
    TaskSpec,
    check_task,
    load_suite,
    load_task,
    suite_names,
    task_names,
)

TBRM6 = {"aime24": 30, "aime25": 30, "amc23": 40, "math500": 500, "minerva_math": 272, "olympiadbench": 675}
MINIMAL = """
title = "Sums"
source = "invented"
paper = ""
licence = "none"
notes = ""
num_rows = 3
gold_rule = "integer"
answer_kind = "integer"
cluster_rule = "none"
files = ["sums.jsonl"]
[columns]
question = ["problem"]
answer = ["answer"]
"""


def read(tmp_path: Path, text: str) -> TaskSpec:
    path = tmp_path / "sums.toml"
    path.write_text(text)
    return check_task(load_toml(path, TaskSpec, name="sums"), path)


def test_the_suites_name_tasks_and_protocols_that_exist() -> None:
    assert suite_names() == ["tbrm6", "quickstart"]
    for name in suite_names():
        suite = load_suite(name)
        assert set(suite.tasks) <= set(task_names())
        assert suite.protocol in protocol_names()
    assert {name: load_task(name).num_rows for name in load_suite("tbrm6").tasks} == TBRM6


@pytest.mark.parametrize("name", TBRM6)
def test_a_task_says_what_its_rows_are(name: str) -> None:
    spec = load_task(name)
    digests = spec.gold_digests()
    assert len(digests) == spec.num_rows
    assert all(re.fullmatch("[0-9a-f]{8}", digest) for digest in digests.values())
    assert all((spec.source, spec.licence, spec.notes))
    assert spec.hub is not None
    assert re.fullmatch("[0-9a-f]{40}", spec.hub.revision), "a branch would let the rows change"
    assert all(erratum.id in digests for erratum in spec.errata)
    assert spec.example is not None
    assert example_problem(spec).gold.answers == spec.example.answers


def test_a_task_without_a_commit_on_the_hub_says_where_its_rows_are() -> None:
    spec = load_task("imo_answerbench")
    assert spec.hub is None
    assert re.search("commit [0-9a-f]{40}$", spec.source)
    assert len(spec.gold_digests()) == spec.num_rows == 400
    assert all(erratum.id in spec.gold_digests() and erratum.provenance for erratum in spec.errata)
    assert spec.example is not None
    assert example_problem(spec).gold.answers == spec.example.answers


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gold_rule", "gold_rul", ["no key 'gold_rul'", "did you mean 'gold_rule'"]),
        ("answer = [", "anwser = [", ["[columns]", "'anwser'", "'answer'"]),
        ('title = "Sums"\n', "", ["lacks the key 'title'"]),
        ("num_rows = 3", 'num_rows = "3"', ["num_rows: '3' is not a whole number"]),
        ("num_rows = 3", "num_rows = true", ["num_rows: true is not a whole number"]),
        ("num_rows = 3", "num_rows = 0", ["num_rows is 0", "1 or more"]),
        ('["problem"]', '"problem"', ["columns.question: 'problem' is not an array"]),
        ('["problem"]', '["a", 7]', ["columns.question.1: 7 is not a string"]),
        ('"none"\nfiles', '"pairs"\nfiles', ["'pairs'", "none, preamble-60"]),
        ('rule = "integer"', 'rule = "integr"', ["gold_rule", "'integr'", "did you mean 'integer'"]),
        ('answer = ["answer"]', "", ["none of answer, solution and alternatives"]),
        ('gold_rule = "integer"\n', "", ["needs gold_rule"]),
        ("num_rows = 3", "num_rows =", ["not valid TOML", "line 7"]),
        ("[columns]", '[generator]\nname = "arithmetic"\nseed = 1\n[columns]', ["either [generator] or [columns]"]),
    ],
)
def test_a_mistake_in_a_task_file_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    assert old in MINIMAL
    with pytest.raises(UserError) as raised:
        read(tmp_path, MINIMAL.replace(old, new, 1))
    for part in ["sums.toml", *said]:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"arithmetic"', '"arithmetics"', "not one of arithmetic, reasoning-gym:NAME"),
        ("seed = 1", "seed = 1\noptions.maze.size = 3", "[generator.options.maze] belongs to no dataset"),
        ("num_rows = 3", 'num_rows = 3\ngold_rule = "integer"', "gold_rule is for rows that are read"),
        ("num_rows = 3", "num_rows = 3\nrel_tolerance = 0.1", "rel_tolerance is for rows that are read"),
    ],
)
def test_what_a_generator_does_not_read_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = 'title = "Sums"\nnum_rows = 3\n[generator]\nname = "arithmetic"\nseed = 1\n'
    assert read(tmp_path, text).cluster_rule == "builtin"
    with pytest.raises(UserError, match=re.escape(said)):
        read(tmp_path, text.replace(old, new, 1))


def test_an_integer_stands_for_a_float_and_nothing_else_is_coerced(tmp_path: Path) -> None:
    spec = read(tmp_path, MINIMAL.replace("[columns]", "rel_tolerance = 1\n[columns]"))
    assert (spec.rel_tolerance, type(spec.rel_tolerance)) == (1.0, float)
    with pytest.raises(UserError, match="rel_tolerance"):
        read(tmp_path, MINIMAL.replace("[columns]", "rel_tolerance = '1'\n[columns]"))


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no task 'aime42'; did you mean 'aime24' or 'aime25'\?"):
        load_task("aime42")
    with pytest.raises(UserError, match=r"no suite 'tbrm5'; did you mean 'tbrm6'"):
        load_suite("tbrm5")
    with pytest.raises(UserError, match=r"available: .*amc23"):
        load_task("zzz")


def test_every_key_and_every_task_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text()
    names = {field.name for cls in (TaskSpec, Columns, Erratum, HubSource) for field in fields(cls)}
    for name in (names - {"name", "file"}) | set(task_names()) | set(suite_names()):
        assert f"`{name}`" in page or f"`[{name}]`" in page or f"`[[{name}]]`" in page, name
