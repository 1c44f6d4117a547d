"""The rules of a comparison: what arms share, what they may declare, and how an undeclared difference is refused."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.errors import UserError
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.comparison.arms import make_arms
from tbrm_train.comparison.plan import budget_words, make_plan, open_folder
from tbrm_train.recipes.rl_rules import load_rl_recipe

RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"
TBRM = RECIPES / "tiny-tbrm.toml"


def arms_of(*specs: str, words: tuple[str, ...] = (), declared: tuple[str, ...] = ()) -> dict[str, Any]:
    return {arm.name: arm for arm in make_arms(TBRM, words, specs=specs, declared=declared)[1]}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_s_arm_is_the_base_recipe_but_for_its_loss(name: str) -> None:
    base, (_, arm) = make_arms(TBRM, (), specs=["base=tbrm", f"arm={name}"], declared=())
    assert replace(arm.recipe, algorithm=base.algorithm) == base
    given, default = asdict(base)["algorithm"], asdict(ALGORITHMS[name].coefficients())
    shared = {key: value for key, value in given.items() if key in default and key != "name"}
    assert asdict(arm.recipe)["algorithm"] == {**default, **shared}, "what it reads is kept, all else is its default"
    written = {"beta", "center_value", "center_reward"}
    assert set(arm.dropped) == written - default.keys()
    assert {difference.key for difference in arm.differences} == (set() if name == "tbrm" else {"algorithm.name"})


def test_what_is_given_for_all_arms_is_dropped_by_those_that_do_not_read_it() -> None:
    words = ("algorithm.kl_coefficient=0.1", "algorithm.value_samples=2", "optimizer.critic_learning_rate=0.005")
    found = arms_of("tbrm", "grpo", "ppo", str(RECIPES / "tiny-ppo.toml"), words=(*words, "output=x"), declared=())
    own = {"beta", "center_value", "center_reward"}  # of the base recipe, not of tiny-ppo.toml
    assert {name: set(arm.dropped) for name, arm in found.items()} == {
        "tbrm": {"kl_coefficient", "value_samples", "optimizer.critic_learning_rate"},
        "grpo": {"value_samples", "optimizer.critic_learning_rate", *own},
        "ppo": {"value_samples", *own},
        "tiny-ppo": {"value_samples"},
    }
    assert found["ppo"].recipe.optimizer.critic_learning_rate == 0.005
    assert found["grpo"].recipe.algorithm.kl_coefficient == found["tiny-ppo"].recipe.algorithm.kl_coefficient == 0.1
    assert [item.key for item in found["ppo"].differences] == ["algorithm.name"], "given for all is no difference"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("grpo:algorithm.beta=0.1", "grpo does not read algorithm.beta"),
        ("grpo:optimizer.critic_learning_rate=0.1", "grpo has no critic"),
    ],
)
def test_what_is_declared_for_an_arm_that_does_not_read_it_is_refused(declared: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        arms_of("tbrm", "grpo", declared=(declared,))


def test_what_an_arm_declares_is_done_and_listed(tmp_path: Path) -> None:
    file = tmp_path / "soft.toml"
    file.write_text('[algorithm]\nname = "ppo"\nlam = 0.95\n[optimizer]\ncritic_learning_rate = 1e-3\n')
    found = arms_of("tbrm", str(file), "fast=tbrm", declared=("fast:optimizer.learning_rate=3e-4",))
    assert found["soft"].recipe.algorithm.lam == 0.95
    assert found["soft"].recipe.optimizer == replace(found["tbrm"].recipe.optimizer, critic_learning_rate=1e-3)
    listed = {item.key: (item.arm, item.declared_by) for item in found["soft"].differences}
    assert listed == {
        "algorithm.name": ("ppo", str(file)),
        "algorithm.lam": (0.95, str(file)),
        "optimizer.critic_learning_rate": (1e-3, str(file)),
    }
    (fast,) = found["fast"].differences
    assert (fast.key, fast.arm, fast.declared_by) == ("optimizer.learning_rate", 3e-4, "--set")


@pytest.mark.parametrize(
    ("words", "key", "fixes"),
    [
        ((), "optimizer.critic_learning_rate", ["--set own:optimizer.critic_learning_rate=0.005", "all arms"]),
        (
            ("optimizer.critic_learning_rate=0.005",),
            "prompts.source",
            ["all arms: prompts.source=builtin:arithmetic"],
        ),
        (
            ("optimizer.critic_learning_rate=0.005", "prompts.source=math500"),
            "rollout.max_tokens",
            ["all arms: rollout.max_tokens=50"],
        ),
    ],
)
def test_an_undeclared_difference_of_a_recipe_is_refused_with_both_values(
    words: tuple[str, ...], key: str, fixes: list[str], tmp_path: Path
) -> None:
    """Each case mends what the one before was refused for; the next difference then comes to light."""
    base, own = tmp_path / "base.toml", tmp_path / "own.toml"
    common = (
        'kind = "rl"\noutput = "x"\nmodel = "builtin:tiny"\nseed = 1\n[optimizer]\nsteps = 2\nlearning_rate = 1e-4\n'
    )
    rollout = "[rollout]\nprompts_per_step = 2\nsamples_per_prompt = 2\nmax_tokens = "
    base.write_text(
        f'{common}{rollout}50\n[prompts]\nsource = "builtin:arithmetic"\nprotocol = "quickstart"\n'
        '[algorithm]\nname = "tbrm"\n'
    )
    own.write_text(
        f'{common}critic_learning_rate = 0.005\n{rollout}60\n[prompts]\nsource = "math500"\nprotocol = "quickstart"\n'
        '[algorithm]\nname = "ppo"\n'
    )
    with pytest.raises(UserError) as refused:
        make_arms(base, words, specs=["tbrm", str(own)], declared=())
    message = str(refused.value)
    assert f"differs undeclared: {key} is " in message
    for fix in fixes:
        assert fix in message
    assert ("--set" in message) == (key == "optimizer.critic_learning_rate"), "what is shared cannot be declared"


@pytest.mark.parametrize(
    ("specs", "declared", "said"),
    [
        (["tbrm", "grpoo"], [], "did you mean 'grpo'"),
        (["tbrm"], [], "--arms names 1 arm"),
        (["tbrm", "tbrm"], [], "two arms are called 'tbrm'"),
        (["tbrm", "../x=grpo"], [], "cannot name an arm"),
        (["tbrm", "grpo"], ["grpo:rollout.temperature=0.5"], "all arms share rollout.temperature"),
        (["tbrm", "grpo"], ["grpo:seed=2"], "all arms share seed"),
        (["tbrm", "grpo"], ["gppo:optimizer.eps=1e-6"], "no arm 'gppo'"),
        (["tbrm", "grpo"], ["optimizer.eps=1e-6"], "is not arm:key=value"),
        (["tbrm", "grpo"], ["grpo:optimizer.epss=1e-6"], "did you mean 'eps'"),
        (["tbrm", "grpo"], ["grpo:optimizer.eps=-1"], "arm grpo: optimizer.eps is -1"),
        (["tbrm", str(RECIPES / "none.toml")], [], "cannot be read"),
    ],
)
def test_a_mistake_is_one_line(specs: list[str], declared: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        make_arms(TBRM, (), specs=specs, declared=declared)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_reinforcement_learning_has_arms() -> None:
    with pytest.raises(UserError, match="kind is 'sft'"):
        make_arms(RECIPES / "tiny-sft.toml", (), specs=["tbrm", "grpo"], declared=())


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        (None, []),
        ("tokens=1e6", ["budget.generated_tokens=1000000"]),
        ("trained_tokens=1_000", ["budget.trained_tokens=1000"]),
        ("seconds=0.5", ["budget.seconds=0.5"]),
        ("steps=7", ["optimizer.steps=7"]),
    ],
)
def test_a_budget_is_a_key_of_the_recipe(budget: str | None, word: list[str]) -> None:
    assert budget_words(budget) == word


@pytest.mark.parametrize(
    "budget", ["tokens", "tokens=", "tokens=1.5", "tokens=0", "steps=nan", "flops=3", "seconds=inf"]
)
def test_a_budget_that_is_none_is_refused(budget: str) -> None:
    with pytest.raises(UserError, match="--budget"):
        budget_words(budget)


def test_all_trainings_of_a_plan_share_questions_and_differ_in_their_seed(tmp_path: Path) -> None:
    plan = make_plan(TBRM, arms=["tbrm", "grpo"], num_seeds=3, budget="tokens=1000", output=tmp_path / "x")
    assert [(run.arm.name, run.seed) for run in plan.runs] == [
        (arm, plan.base.seed + number) for number in range(3) for arm in ("tbrm", "grpo")
    ]
    assert {run.arm.recipe.data_seed for run in plan.runs} == {plan.base.seed}
    assert all(run.arm.recipe.prompts.seed is not None for run in plan.runs), "so that it does not follow the seed"
    assert len({run.output for run in plan.runs}) == 6
    assert not plan.output.exists(), "a plan writes nothing"


def test_a_comparison_needs_something_to_compare_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give prompts\.validation=N"):
        make_plan(TBRM, ["prompts.validation=0"], arms=["tbrm", "grpo"])
    silent = tmp_path / "silent.toml"
    silent.write_text(TBRM.read_text().partition("[evaluation]")[0])
    with pytest.raises(UserError, match=r"give evaluation\.every=N"):
        make_plan(silent, arms=["tbrm", "grpo"])


def test_arms_and_seeds_may_be_added_but_an_arm_s_recipe_may_not_change(tmp_path: Path) -> None:
    def plan(*arms: str, words: tuple[str, ...] = (), num_seeds: int = 2) -> Any:
        return make_plan(TBRM, words, arms=arms, num_seeds=num_seeds, output=tmp_path / "x")

    open_folder(plan("tbrm", "grpo"))
    open_folder(plan("tbrm", "grpo", "ppo", num_seeds=5))
    with pytest.raises(UserError, match=r"another arm tbrm: rollout\.max_tokens: 50, not"):
        open_folder(plan("tbrm", "grpo", words=("rollout.max_tokens=50",)))
    # What may change between two starts reaches the trainings, which read the stored arms.
    open_folder(plan("tbrm", "grpo", words=("rewards.time_limit_s=9",)))
    stored = [load_rl_recipe(tmp_path / "x" / "arms" / f"{arm}.toml") for arm in ("tbrm", "grpo", "ppo")]
    assert [recipe.rewards.time_limit_s for recipe in stored] == [9, 9, 5]
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        open_folder(replace(plan("tbrm", "grpo"), output=tmp_path / "y"))
