"""Comparing two runs: what may differ between them, what is refused, and where the numbers come from."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tbrm_bench.cli.app import app
from tbrm_bench.errors import UserError
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, SampleKey, Status
from tbrm_bench.run.comparison import compare_runs, verdict
from tbrm_bench.store import RunStore

NUM_PROBLEMS = 40


def lock(**changes: Any) -> dict[str, Any]:
    base = {
        "model": {"weights": "w", "config": "c"},
        "tasks": {name: {"rows": "r", "prompts": "p", "max_tokens": 9} for name in ("one", "two")},
        "engine": {"name": "vllm", "version": "1"},
        "seed": 0,
    }
    return base | changes


def make_run(
    run_dir: Path,
    solve: dict[str, float],
    *,
    k: int = 4,
    seed: int = 0,
    grader: str = "g-1",
    lock_: dict[str, Any] | None = None,
    missing: int = 0,
) -> Path:
    """Write a run whose answers are right with the given probability a task, harder from problem to problem."""
    draw = random.Random(seed)
    with RunStore.open_writer(run_dir, lock=lock_ or lock(), about={"strict_boxed": False}) as store:
        for task, share in solve.items():
            problems = [
                Problem(ProblemKey(task, f"p{i}"), "?", Gold(("1",)), f"c{i // 2}") for i in range(NUM_PROBLEMS)
            ]
            store.put_problems(problems, {task: k})
            keys = [SampleKey(*problem.key, index) for problem in problems for index in range(k)]
            keys = keys[: len(keys) - missing]
            store.add_samples(Sample(key, 1, "", (1,), "stop", 1) for key in keys)
            solved = [draw.random() < share * 2 * (1 - int(key.problem_id[1:]) / NUM_PROBLEMS) for key in keys]
            grades = [Grade(Status.CORRECT if yes else Status.WRONG, "1", "r") for yes in solved]
            store.add_grades(zip(keys, grades, strict=True), grader)
    return run_dir


def averages(run_dir: Path) -> dict[str, float]:
    with RunStore.open_reader(run_dir) as store:
        return {
            task: float(np.mean([sample.status is Status.CORRECT for sample in store.graded(task, "g-1")]))
            for task in store.tasks()
        }


def test_the_difference_is_that_of_the_two_averages(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"one": 0.3, "two": 0.5}, seed=1)
    b = make_run(tmp_path / "b", {"one": 0.4, "two": 0.2}, seed=2, k=8)
    (comparison,) = compare_runs([a, b])
    for row in comparison.rows:
        assert row.base == pytest.approx(averages(a)[row.task])
        assert row.other == pytest.approx(averages(b)[row.task])
        assert row.difference.mean == pytest.approx(row.other - row.base)
        assert row.difference.num_clusters == NUM_PROBLEMS / 2
    assert comparison.macro.difference.mean == pytest.approx(np.mean([row.difference.mean for row in comparison.rows]))


def test_a_run_is_no_better_than_itself_and_a_clear_gain_is_found(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"one": 0.2, "two": 0.2}, seed=1)
    better = make_run(tmp_path / "b", {"one": 0.5, "two": 0.21}, seed=2)
    same, gain = compare_runs([a, a, better])
    assert {verdict(row) for row in (*same.rows, same.macro)} == {"cannot tell"}
    assert (same.rows[0].difference.p_value, same.rows[0].num_better) == (1.0, 0)
    assert [verdict(row) for row in gain.rows] == ["better", "cannot tell"]
    (back,) = compare_runs([better, a])
    assert verdict(back.rows[0]) == "worse"


def test_more_comparisons_ask_for_more_evidence(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"r{i}", {"one": 0.3 + 0.05 * i}, seed=i) for i in range(4)]
    alone = compare_runs([runs[0], runs[1]])[0].rows[0].p_holm
    among = compare_runs(runs)[0].rows[0].p_holm
    assert among >= alone


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"engine": {"name": "hf", "version": "1"}}, "engine.name"),
        ({"tasks": {"one": {"rows": "x", "prompts": "p", "max_tokens": 9}}}, "tasks.one.rows"),
        ({"tasks": {"one": {"rows": "r", "prompts": "q", "max_tokens": 9}}}, "tasks.one.prompts"),
        ({"tasks": {"one": {"rows": "r", "prompts": "p", "max_tokens": 8}}}, "tasks.one.max_tokens"),
    ],
)
def test_runs_that_were_made_differently_are_refused_by_the_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    a = make_run(tmp_path / "a", {"one": 0.3})
    b = make_run(tmp_path / "b", {"one": 0.3}, lock_=lock(**change))
    with pytest.raises(UserError, match=field.replace(".", r"\.")):
        compare_runs([a, b])
    (labelled,) = compare_runs([a, b], anyway=True)
    assert [name for name, _, _ in labelled.differences] == [field]


def test_the_model_and_the_seed_may_differ_and_so_may_tasks_that_are_not_compared(tmp_path: Path) -> None:
    other = lock(model={"weights": "v", "config": "d"}, seed=7)
    other["tasks"]["two"] = {"rows": "another"}
    a = make_run(tmp_path / "a", {"one": 0.3})
    b = make_run(tmp_path / "b", {"one": 0.3, "two": 0.5}, lock_=other)
    (comparison,) = compare_runs([a, b])
    assert comparison.differences == ()
    assert [row.task for row in comparison.rows] == ["one"]
    assert comparison.only_in_one == ("two",)


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"one": 0.3})
    cases = {
        "159 of 160": make_run(tmp_path / "incomplete", {"one": 0.3}, missing=1),
        "graded by": make_run(tmp_path / "graded", {"one": 0.3}, grader="g-2"),
        "common task": make_run(tmp_path / "two", {"two": 0.3}),
        "run directory": tmp_path,
    }
    for said, run_dir in cases.items():
        with pytest.raises(UserError, match=said):
            compare_runs([a, run_dir])
    with pytest.raises(UserError, match="two are needed"):
        compare_runs([a])


def test_the_command_prints_what_it_computes(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a[b]", {"one": 0.2, "two": 0.2}, seed=1)
    b = make_run(tmp_path / "b", {"one": 0.6, "two": 0.2}, seed=2)
    shown = CliRunner().invoke(app, ["compare", str(a), str(b)], env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    (comparison,) = compare_runs([a, b])
    assert "a[b]" in shown.stdout
    assert f"{100 * comparison.macro.difference.mean:+.1f}" in shown.stdout
    assert "better" in shown.stdout
    printed = CliRunner().invoke(app, ["compare", str(a), str(b), "--json"])
    values = json.loads(printed.stdout)[0]
    assert values["rows"][0]["difference"]["mean"] == pytest.approx(comparison.rows[0].difference.mean)
    assert not math.isnan(values["macro"]["p_holm"])
