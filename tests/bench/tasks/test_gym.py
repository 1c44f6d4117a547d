"""reasoning-gym: the same problems on every machine, and as tasks of the bench judged by their own scorers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.grading import GraderPool, explain, grade
from tbrm_bench.grading.selftest import unearnable_golds
from tbrm_bench.grading.workers.scored import plain
from tbrm_bench.records import Gold, Problem, Sample, SampleKey, Status
from tbrm_bench.run.pipeline import regrade
from tbrm_bench.store import RunStore
from tbrm_bench.tasks.generators import gym_datasets
from tbrm_bench.tasks.generators.gym import gym_problems
from tbrm_bench.tasks.problems import load_problems, rows_hash
from tbrm_bench.tasks.spec import open_task
from tbrm_bench.tasks.task_check import check_task

SOURCE = "reasoning-gym:course_schedule,family_relationships,largest_island,quantum_lock,shortest_path"
TASK = """
title = "Ways"
num_rows = 6
[generator]
name = "reasoning-gym:shortest_path"
seed = 1
[generator.options.shortest_path]
p_blocked = 0.0
"""
Cli = Callable[..., tuple[int, str, str]]


def has_gym() -> bool:
    try:
        gym_problems("reasoning-gym:shortest_path", {}, count=1, seed=0)
    except MissingExtra:
        return False
    return True


needs_gym = pytest.mark.skipif(not has_gym(), reason="reasoning-gym is not installed (extra reasoning-gym)")


def test_several_datasets_are_named_in_one_source() -> None:
    assert gym_datasets("reasoning_gym:maze, n_queens") == ("maze", "n_queens")
    assert gym_datasets("builtin:arithmetic") == gym_datasets("rows") == ()


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (r"\text{up up right}", "up up right"),
        (r"$\text{A} \rightarrow \text{B} \to C$", "A → B → C"),
        (r"\text{mother-in-law}", "mother-in-law"),
        (r"A\_1", "A_1"),
        ("infeasible", "infeasible"),
        (r"\total{x}", r"\total{x}"),
    ],
)
def test_an_answer_is_read_without_its_latex(answer: str, read: str) -> None:
    assert plain(answer) == read


def test_without_the_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[reasoning-gym\]'"):
        gym_problems(SOURCE, {}, count=1, seed=0)


@needs_gym
@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("reasoning_gym:shortest_pth", {}, "no dataset 'shortest_pth'; did you mean 'shortest_path'?"),
        ("reasoning_gym:shortest_path", {"max_row": 6}, "no key 'max_row'; did you mean"),
        ("reasoning_gym:shortest_path", {"size": 6}, "use prompts.num_prompts instead"),
        ("reasoning_gym:shortest_path", {"max_rows": 1}, "cannot work"),
        ("reasoning_gym:shortest_path", {"max_rows": "many"}, "cannot work"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_name(source: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        gym_problems(source, {"shortest_path": options} if options else {}, count=4, seed=0)
    assert said in str(error.value)


@needs_gym
def test_problems_come_in_turn_and_seeds_part_them() -> None:
    problems = gym_problems(SOURCE, {}, count=12, seed=1)
    assert [item.key.task.partition(":")[2] for item in problems[:5]] == list(gym_datasets(SOURCE))
    assert len({item.key for item in problems}) == 12
    assert problems == gym_problems(SOURCE, {}, count=12, seed=1)
    others = {item.question for item in gym_problems(SOURCE, {}, count=12, seed=2)}
    assert len(others & {item.question for item in problems}) <= 1


@needs_gym
def test_every_process_makes_the_same_problems() -> None:
    """Training processes and scorers make them again: nothing may hang on a hash seed."""
    code = "import sys, json; from tbrm_bench.tasks.generators.gym import gym_problems; "
    code += "print(json.dumps([p.question for p in gym_problems(sys.argv[1], {}, count=25, seed=3)]))"
    made = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code, SOURCE],
                env=os.environ | {"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert made[0] == made[1]


@pytest.fixture
def cli(tbench: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run `tbench WORDS` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tbench


@pytest.fixture
def ways(tmp_path: Path) -> Path:
    (tmp_path / "ways.toml").write_text(TASK)
    return tmp_path / "ways.toml"


def other_way(problem: Problem) -> str:
    """Another answer that is as good: where nothing is in the way, the order of the steps is free."""
    moves = problem.gold.answers[0].split()
    return " ".join(sorted(moves, reverse=moves == sorted(moves)))


@needs_gym
def test_a_tasks_answers_are_judged_by_the_datasets_own_scorer(ways: Path) -> None:
    problems = load_problems(open_task(str(ways)))
    problem = next(item for item in problems if len(set(item.gold.answers[0].split())) == 2)
    right, detour = other_way(problem), f"{problem.gold.answers[0]} up down"
    assert right != problem.gold.answers[0]
    texts = (rf"\boxed{{{right}}}", rf"\boxed{{{detour}}}", "", rf"\boxed{{{'up ' * 4000}}}")
    found = [grade(text, problem.gold) for text in texts]
    assert [item.status for item in found] == [Status.CORRECT, Status.WRONG, Status.NO_ANSWER, Status.WRONG]
    assert [item.rule for item in found][::3] == ["scorer", "too_long"]
    assert "own scorer" in str(explain(texts[0], problem.gold))


@needs_gym
def test_what_a_scorer_cannot_judge_is_no_wrong_answer(ways: Path) -> None:
    gold = load_problems(open_task(str(ways)))[0].gold
    text = rf"\boxed{{{gold.answers[0]}}}"
    made = json.loads(gold.scorer)
    vast = made["options"] | dict.fromkeys(("min_rows", "max_rows", "min_cols", "max_cols"), 2000)
    slow = replace(gold, scorer=json.dumps(made | {"options": vast}))
    with GraderPool(time_limit_s=0.02) as hasty:
        hasty.submit(SampleKey("ways", "1", 0), text, slow, "stop")
        ((_, late),) = hasty.drain(wait=True)
    assert (late.status, late.rule) == (Status.ERROR, "gold:time_limit"), "its own answer cannot be judged either"
    for scorer in ("{}", "[", json.dumps(made | {"fingerprint": "0"}), '{"dataset": "os"}'):
        assert grade(text, replace(gold, scorer=scorer)).status is Status.ERROR


@needs_gym
def test_the_scorer_is_in_the_rows_hash_and_the_check_grades_by_it(ways: Path) -> None:
    spec = open_task(str(ways))
    problems = load_problems(spec)
    assert len({item.key for item in problems}) == spec.num_rows
    assert rows_hash(problems) == rows_hash(load_problems(spec))
    bare = [replace(item, gold=replace(item.gold, scorer="")) for item in problems]
    assert rows_hash(problems) != rows_hash(bare)
    check = check_task(spec)
    assert (check.failures, check.num_golds_passed, check.unverified) == ((), spec.num_rows, "")


@needs_gym
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("reasoning-gym:shortest_path", "reasoning-gym:shortest_path,shortest_pth", "did you mean 'shortest_path'?"),
        ("p_blocked", "p_blockd", "[generator.options.shortest_path] has no key 'p_blockd'; did you mean"),
        ("p_blocked = 0.0", "size = 3", "use num_rows instead"),
        ("p_blocked = 0.0", "seed = 3", "use generator.seed instead"),
        ("p_blocked = 0.0", "max_rows = 1", "cannot work"),
        ("options.shortest_path", "options.maze", "[generator.options.maze] belongs to no dataset"),
        ("reasoning-gym:shortest_path", "reasoning-gym:shortest_path,shortest_path", "'shortest_path' twice"),
        ("reasoning-gym:shortest_path", "somewhere:else", "not one of arithmetic, reasoning-gym:NAME"),
    ],
)
def test_a_mistake_in_a_task_is_one_line(cli: Cli, ways: Path, old: str, new: str, said: str) -> None:
    ways.write_text(TASK.replace(old, new, 1))
    code, out, err = cli("eval", "builtin:tiny", "--task", "ways.toml", "--dry-run")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err


@needs_gym
def test_a_dataset_that_gives_no_answers_is_not_held_to_them(tmp_path: Path) -> None:
    (tmp_path / "hour.toml").write_text(
        'title = "Jam"\nnum_rows = 2\n[generator]\nname = "reasoning-gym:rush_hour"\nseed = 0\n'
    )
    spec = open_task(str(tmp_path / "hour.toml"))
    golds = [item.gold for item in load_problems(spec)]
    assert [gold.answers for gold in golds] == [(), ()]
    assert not unearnable_golds(golds)
    assert check_task(spec).failures == ()
    assert grade(r"\boxed{None}", golds[0]).status is Status.WRONG


@needs_gym
def test_a_dataset_is_a_task_by_its_name(cli: Cli) -> None:
    words = ("eval", "builtin:tiny", "--protocol", "quickstart", "--limit", "2", "--dry-run", "--json", "--task")
    one, other = (
        json.loads(cli(*words, f"{prefix}:simple_equations")[1])["lock"]
        for prefix in ("reasoning-gym", "reasoning_gym")
    )
    assert one == other
    assert list(one["tasks"]) == ["reasoning-gym:simple_equations"]


@needs_gym
def test_a_stored_run_is_graded_again_or_says_what_it_lacks(
    cli: Cli, ways: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = load_problems(open_task(str(ways)))
    with RunStore.open_writer(tmp_path / "run", lock={"tasks": {}}, about={"strict_boxed": False}) as store:
        store.put_problems(problems, {"ways": 1})
        texts = [rf"\boxed{{{other_way(item)}}}" for item in problems]
        store.add_samples(
            Sample(SampleKey(*item.key, 0), 0, text, (1,), "stop", 1)
            for item, text in zip(problems, texts, strict=True)
        )
    ways.unlink()
    result, _ = regrade(tmp_path / "run")
    assert result.tasks[0].avg == 1.0
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    before = (tmp_path / "run" / "results.json").read_bytes()
    code, _, err = cli("grade", "run")
    assert (code, "[reasoning-gym]'" in err, err.count("\n")) == (3, True, 1), err
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    with RunStore.open_reader(tmp_path / "run") as stored:
        assert {found.status for _, found in stored.grades(result.grader)} == {Status.CORRECT}


def test_a_gold_without_a_scorer_is_stored_as_ever() -> None:
    assert list(Gold(("1",)).values()) == ["answers", "kind", "abs_tolerance", "rel_tolerance", "unit"]
