"""A training on reasoning-gym's problems: judged by their own scorers, in processes that can be killed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.records import Gold, Problem, Sample, SampleKey, Status
from tbrm_bench.tasks.generators.gym import gym_problems
from tbrm_train.recipes.rl_rules import load_rl_recipe
from tbrm_train.rollout.gym_rewards import GymRewarder

RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"
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


def test_options_of_a_dataset_that_is_not_asked_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[prompts.options.maze\] belongs to source 'reasoning-gym:maze'"):
        load_rl_recipe(GRAPHS, ["prompts.options.maze.max_dist=4"])


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
def test_a_problem_that_is_not_the_one_asked_and_a_scorer_that_is_too_slow_are_errors(rewarder: GymRewarder) -> None:
    problem = problems_of(rewarder)[0]
    other = Problem(problem.key._replace(problem_id="000000-0123456789abcdef"), "?", Gold(("x",)), "x")
    (found,) = rewarder.grade([sample(other, r"\boxed{x}")], {})
    assert (found.grade.status, found.grade.rule) == (Status.ERROR, "gold:exception:ValueError")
    assert not found.decided
    with GymRewarder(load_rl_recipe(GRAPHS, ["rewards.time_limit_s=1e-6", "rewards.workers=1"])) as hasty:
        (late,) = hasty.grade([sample(problems_of(hasty)[0], r"\boxed{x}")], {})
    assert (late.grade.status, late.grade.rule) == (Status.ERROR, "gold:time_limit")


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
