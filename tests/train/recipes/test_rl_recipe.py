"""RL recipes: every shipped one is read, every mistake is reported with its key, what is stored reads back the same."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_train.algorithms.tbrm import Tbrm
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import load_rl_recipe, read_stored_recipe, recipe_changes, recipe_kind, recipe_toml

RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"
TINY = RECIPES / "tiny-tbrm.toml"
SHIPPED = [path for path in sorted(RECIPES.glob("*.toml")) if tomllib.loads(path.read_text())["kind"] == "rl"]


@pytest.fixture(scope="module")
def tiny() -> RlRecipe:
    return load_rl_recipe(TINY)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_back_from_what_is_stored(path: Path, tmp_path: Path) -> None:
    recipe = load_rl_recipe(path)
    stored = tmp_path / "recipe.toml"
    stored.write_text(recipe_toml(recipe))
    assert load_rl_recipe(stored) == recipe
    assert recipe_kind(path) == "rl"


@settings(deadline=None)
@given(text=st.text(), number=st.floats(1e-9, 1e9), flag=st.booleans(), files=st.lists(st.text(), max_size=3))
def test_any_value_reads_back(text: str, number: float, flag: bool, files: list[str], tmp_path_factory: Any) -> None:
    recipe = load_rl_recipe(TINY)
    rows = {"question": text, "answer": text, "files": tuple(files)}
    changed = dataclasses.replace(
        recipe,
        output=text or "x",
        prompts=dataclasses.replace(recipe.prompts, source="rows", rows=_rows(**rows)),
        algorithm=Tbrm(beta=number, freeze_value=flag),
    )
    stored = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    stored.write_text(recipe_toml(changed), encoding="utf-8")
    assert load_rl_recipe(stored) == changed


def _rows(**values: Any) -> Any:
    from tbrm_train.recipes.rl_recipe import Rows

    return Rows(**values)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.learning_rat=1", ["'learning_rat'", "did you mean 'learning_rate'?"]),
        ("optimiser.steps=1", ["'optimiser'", "did you mean 'optimizer'?"]),
        ("optimizer.steps=two", ["optimizer.steps", "'two' is not a whole number"]),
        ("optimizer.steps=0", ["optimizer.steps is 0", "1 or more"]),
        ("optimizer.learning_rate=nan", ["optimizer.learning_rate is nan", "0 or more"]),
        ("optimizer.betas=[0.9]", ["optimizer.betas", "2 values"]),
        ("algorithm.name=grop", ["algorithm.name", "'grop' is not one of", "did you mean 'grpo'"]),
        ("algorithm.beta=0", ["algorithm.beta is 0", "more than 0"]),
        ("algorithm.beta=nan", ["algorithm.beta is nan", "more than 0"]),
        ("algorithm.updates_per_batch=2", ["tbrm does not read algorithm.updates_per_batch", "it reads beta, "]),
        ("rollout.samples_per_prompt=1", ["samples_per_prompt is 1", "2 or more"]),
        ("rollout.temperature=0.005", ["rollout.temperature is 0.005", "0.01 or more"]),
        ("rollout.engine=sglang", ["rollout.engine", "'sglang'", "vllm"]),
        ("deepspeed.zero_stage=4", ["zero_stage", "4 is not one of 0, 1, 2, 3"]),
        ("deepspeed.micro_batch_tokens=-1", ["micro_batch_tokens is -1"]),
        ("prompts.source=rows", ["prompts.source is rows", "[prompts.rows]"]),
        ("prompts.protocol=quikstart", ["'quikstart'", "'quickstart'"]),
        ("evaluation.tasks=['aime42']", ["'aime42'"]),
        ("rewards.max_failed_share=nan", ["max_failed_share is nan"]),
        ("rewards={strict_boxed=false, answer_tags=true}", ["rewards.answer_tags is True", "they count anyway"]),
        ("seed=-1", ["seed is -1"]),
        ("output=", ["output is empty"]),
    ],
)
def test_a_mistake_names_its_key_its_value_and_what_is_needed(word: str, said: list[str]) -> None:
    with pytest.raises(UserError) as error:
        load_rl_recipe(TINY, [word])
    for part in said:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_bfloat16_needs_a_stage_that_keeps_float32_gradients() -> None:
    words = ["deepspeed.dtype=bfloat16", "deepspeed.zero_stage=0"]
    with pytest.raises(UserError, match="zero_stage is 0"):
        load_rl_recipe(TINY, words)
    assert load_rl_recipe(TINY, [words[0]]).deepspeed.dtype == "bfloat16"


def test_a_changed_key_is_named_unless_it_leaves_the_weights_alone(tiny: RlRecipe) -> None:
    free = ["output=elsewhere", "checkpoints.every=7", "logging.tensorboard=true", "rewards.workers=3"]
    assert recipe_changes(load_rl_recipe(TINY, free), tiny) == []
    changed = load_rl_recipe(TINY, ["optimizer.learning_rate=0.5", "seed=9"])
    assert recipe_changes(changed, tiny) == [
        f"seed: 9, not {tiny.seed}",
        f"optimizer.learning_rate: 0.5, not {tiny.optimizer.learning_rate}",
    ]


def test_which_answers_count_is_the_recipes_choice_and_older_recipes_had_none(tiny: RlRecipe, tmp_path: Path) -> None:
    assert (tiny.rewards.strict_boxed, tiny.rewards.answer_tags) == (True, False)
    stored = tmp_path / "recipe.toml"
    stored.write_text(recipe_toml(tiny).replace("strict_boxed = true\n", "").replace("answer_tags = false\n", ""))
    older = read_stored_recipe(stored)
    assert recipe_changes(tiny, older) == ["rewards.strict_boxed: True, not False"]
    assert recipe_changes(load_rl_recipe(TINY, ["rewards.strict_boxed=false"]), older) == []
    assert recipe_changes(tiny, older, by_content=True) == [], "the inputs have it"


def test_a_kind_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('kind = "dpo"\n')
    with pytest.raises(UserError, match="kind: 'dpo' is not one of sft, rl"):
        recipe_kind(path)
