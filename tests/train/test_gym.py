"""reasoning-gym: the same problems on every machine, judged by their own scorers in processes that can be killed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.records import Gold, Problem, Sample, SampleKey, Status
from tbrm_train.gym import dataset_names, gym_problems
from tbrm_train.gym_rewards import GymRewarder, plain
from tbrm_train.rl_rules import load_rl_recipe

RECIPES = Path(__file__).resolve().parents[2] / "train" / "recipes"
GRAPHS = RECIPES / "reasoning-gym-graphs.toml"
SOURCE = load_rl_recipe(GRAPHS).prompts.source
OPTIONS: dict[str, dict[str, Any]] = {"shortest_path": {"max_rows": 6}}
Runs = Any  # of conftest.py


def has_gym() -> bool:
    try:
        gym_problems("reasoning_gym:shortest_path", {}, count=1, seed=0)
    except MissingExtra:
        return False
    return True


needs_gym = pytest.mark.skipif(not has_gym(), reason="reasoning-gym is not installed (extra reasoning-gym)")


def test_several_datasets_are_named_in_one_source() -> None:
    assert dataset_names("reasoning_gym:maze, n_queens") == ("maze", "n_queens")
    assert dataset_names("builtin:arithmetic") == dataset_names("rows") == ()


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


def test_options_of_a_dataset_that_is_not_asked_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[prompts.options.maze\] belongs to source 'reasoning_gym:maze'"):
        load_rl_recipe(GRAPHS, ["prompts.options.maze.max_dist=4"])


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
        ("reasoning_gym:shortest_path", {"size": 6}, "give prompts.num_prompts in its place"),
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
    assert [item.key.task.partition(":")[2] for item in problems[:5]] == list(dataset_names(SOURCE))
    assert len({item.key for item in problems}) == 12
    assert problems == gym_problems(SOURCE, {}, count=12, seed=1)
    others = {item.question for item in gym_problems(SOURCE, {}, count=12, seed=2)}
    assert len(others & {item.question for item in problems}) <= 1


@needs_gym
def test_every_process_makes_the_same_problems() -> None:
    """Training processes and scorers make them again: nothing may hang on a hash seed."""
    code = "import sys, json; from tbrm_train.gym import gym_problems; "
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


@pytest.fixture(scope="module")
def rewarder() -> Iterator[GymRewarder]:
    words = [
        "prompts.num_prompts=20",
        "prompts.validation=4",
        "rollout.prompts_per_step=4",
        "rewards.workers=1",
        "prompts.options.shortest_path.max_rows=6",
    ]
    with GymRewarder(load_rl_recipe(GRAPHS, words)) as found:
        yield found


def problems_of(rewarder: GymRewarder) -> list[Problem]:
    return gym_problems(SOURCE, OPTIONS, count=20, seed=rewarder.seed)


def sample(problem: Problem, text: str, index: int = 0, finish_reason: str = "stop") -> Sample:
    return Sample(SampleKey(*problem.key, index), 0, text, (1,), finish_reason, 1)  # type: ignore[arg-type]


@needs_gym
def test_the_datasets_own_scorer_pays(rewarder: GymRewarder) -> None:
    """Golds earn 1 through the box, in LaTeX too; what is wrong, missing or cut off earns 0, typed."""
    problems = problems_of(rewarder)
    right = [sample(item, rf"So \boxed{{\text{{{item.gold.answers[0]}}}}}.") for item in problems]
    assert [item.reward for item in rewarder.grade(right, {})] == [1.0] * 20
    one = problems[0]
    wrong = [sample(one, r"\boxed{perhaps}"), sample(one, ""), sample(one, "and so", finish_reason="length")]
    found = rewarder.grade(wrong, {})
    assert [item.grade.status for item in found] == [Status.WRONG, Status.NO_ANSWER, Status.TRUNCATED]
    assert [item.reward for item in found][1:] == [0.0, 0.0]
    assert found[0].reward < 0.2


@needs_gym
def test_another_answer_that_is_as_good_is_paid_too() -> None:
    """Where nothing is in the way, the order of the steps is free; more steps than needed are wrong."""
    source, options = "reasoning_gym:shortest_path", {"shortest_path": {"p_blocked": 0.0}}
    words = [
        f"prompts.source={source}",
        "prompts.num_prompts=40",
        "prompts.validation=4",
        "rollout.prompts_per_step=4",
        "prompts.options.shortest_path.p_blocked=0.0",
    ]
    problems = gym_problems(source, options, count=40, seed=0)
    problem = next(item for item in problems if len(set(item.gold.answers[0].split())) == 2)
    moves = problem.gold.answers[0].split()
    ways = [sorted(moves), sorted(moves, reverse=True), [*moves, "up", "down"]]
    with GymRewarder(load_rl_recipe(GRAPHS, words)) as rewarder:
        found = rewarder.grade([sample(problem, rf"\boxed{{{' '.join(way)}}}", n) for n, way in enumerate(ways)], {})
    assert [item.grade.status for item in found] == [Status.CORRECT, Status.CORRECT, Status.WRONG]


@needs_gym
def test_a_problem_that_is_not_the_one_asked_is_an_error_and_a_slow_scorer_a_timeout(rewarder: GymRewarder) -> None:
    problem = problems_of(rewarder)[0]
    other = Problem(problem.key._replace(problem_id="000000-0123456789abcdef"), "?", Gold(("x",)), "x")
    (found,) = rewarder.grade([sample(other, r"\boxed{x}")], {})
    assert (found.grade.status, found.grade.rule) == (Status.ERROR, "exception:ValueError")
    assert not found.decided
    with GymRewarder(load_rl_recipe(GRAPHS, ["rewards.time_limit_s=1e-6", "rewards.workers=1"])) as hasty:
        (late,) = hasty.grade([sample(problems_of(hasty)[0], r"\boxed{x}")], {})
    assert late.grade.status is Status.TIMEOUT


@needs_gym
def test_a_training_on_graphs_runs_and_is_repeated_byte_by_byte(runs: Runs, tmp_path: Path) -> None:
    words = ["prompts.source=reasoning_gym:largest_island,family_relationships", "optimizer.steps=2"]
    words += ["prompts.options.largest_island.max_rows=5", "prompts.options.largest_island.max_cols=5"]
    for name in ("one", "two"):
        done = runs.train("tiny-grpo", f"output={tmp_path / name}", *words)
        assert done.codes == [0], done.err
    files = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "two")]
    assert files[0] == files[1]
    last = json.loads(files[0].splitlines()[-1])
    assert last["outcome/error"] == last["outcome/timeout"] == 0
