"""Recipes: every one shipped parses, every mistake is one line that names the key, overrides replace what they name."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import ExitCode, UserError
from tbrm_train.recipes.sft_recipe import HEAD_DIMS, SftRecipe, load_recipe

RECIPES = Path(__file__).resolve().parents[3] / "train" / "recipes"
TINY = RECIPES / "tiny-sft.toml"


def refusal(*overrides: str, path: Path = TINY) -> str:
    """Return the one line with the reason why the recipe is refused."""
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    assert caught.value.exit_code is ExitCode.USAGE
    line = str(caught.value)
    assert "\n" not in line
    return line


def as_table(recipe: SftRecipe) -> dict[str, Any]:
    table = dataclasses.asdict(recipe)
    table["optimizer"]["betas"] = list(table["optimizer"]["betas"])
    return table


def leaves(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"a.b": value} of a table of tables."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


LEAVES = leaves(tomllib.loads(TINY.read_text()))


SHIPPED = sorted(path for path in RECIPES.rglob("*.toml") if tomllib.loads(path.read_text())["kind"] == "sft")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_holds_what_its_file_says(path: Path) -> None:
    recipe = load_recipe(path)
    assert as_table(recipe) == tomllib.loads(path.read_text())


def test_a_recipe_is_frozen() -> None:
    recipe = load_recipe(TINY)
    for part, key in ((recipe, "seed"), (recipe.model, "hidden_size"), (recipe.optimizer, "steps")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, key, 1)


@pytest.mark.parametrize("key", sorted(LEAVES))
def test_a_key_that_lacks_a_letter_is_unknown_and_the_right_one_is_named(key: str) -> None:
    table, _, name = key.rpartition(".")
    wrong = name[:-1]
    line = refusal(f"{table}.{wrong}=1" if table else f"{wrong}=1")
    assert repr(wrong) in line
    assert f"did you mean {name!r}" in line
    assert str(TINY) in line


@pytest.mark.parametrize("key", sorted(LEAVES))
def test_a_value_of_another_type_names_key_and_value(key: str) -> None:
    line = refusal(f"{key}=[[]]")
    assert key in line
    assert "[]" in line


@pytest.mark.parametrize("key", sorted(LEAVES))
def test_a_key_that_is_not_there_is_named(key: str, tmp_path: Path) -> None:
    name = key.rpartition(".")[2]
    lines = [line for line in TINY.read_text().splitlines() if not line.startswith(f"{name} =")]
    path = tmp_path / "short.toml"
    path.write_text("\n".join(lines))
    assert f"lacks the key {name!r}" in refusal(path=path)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("kind=ppo", ["kind", "'ppo'", "sft"]),
        ("data=builtin:geometry", ["data", "builtin:geometry", "builtin:arithmetic"]),
        ("protocol=quikstart", ["quikstart", "quickstart"]),
        ("output=", ["output", "empty"]),
        ("seed=-1", ["seed is -1"]),
        (f"seed={2**63}", ["seed", "2**63"]),
        ("seed=true", ["seed", "true"]),
        ("num_threads=0", ["num_threads is 0"]),
        ("model.hidden_size=0", ["model.hidden_size is 0"]),
        ("model.num_layers=-1", ["model.num_layers is -1"]),
        ("model.num_heads=0", ["model.num_heads is 0"]),
        ("model.num_heads=3", ["hidden_size is 128", "num_heads 3"]),
        ("model.num_heads=1", ["num_kv_heads is 2", "num_heads 1"]),
        ("model.num_kv_heads=3", ["num_kv_heads is 3", "num_heads 4"]),
        ("model.hidden_size=96", ["size of a head is 24", "96", "32, 64"]),
        ("tokenizer.vocab_size=258", ["vocab_size is 258", "259"]),
        ("tokenizer.num_texts=0", ["num_texts is 0"]),
        ("optimizer.steps=0", ["optimizer.steps is 0"]),
        ("optimizer.steps=2.5", ["optimizer.steps", "2.5", "whole number"]),
        ("optimizer.batch_size=0", ["batch_size is 0"]),
        ("optimizer.learning_rate=0", ["learning_rate is 0"]),
        ("optimizer.learning_rate=nan", ["learning_rate is nan"]),
        ("optimizer.learning_rate=inf", ["learning_rate is inf"]),
        ("optimizer.max_grad_norm=nan", ["max_grad_norm is nan"]),
        ("optimizer.weight_decay=-1e-9", ["weight_decay is -1e-09"]),
        ("optimizer.warmup_steps=-1", ["warmup_steps is -1"]),
        ("optimizer.betas=[0.9]", ["betas is [0.9]", "2 values"]),
        ("optimizer.betas=[0.9, 0.95, 0.99]", ["betas", "2 values"]),
        ("optimizer.betas=[0.9, 1.0]", ["betas", "below 1"]),
        ("optimizer.betas=[nan, 0.9]", ["betas", "below 1"]),
        ("optimizer.betas=0.9", ["betas", "array"]),
        ("optimizer=3", ["optimizer", "table"]),
        ("seed.more=3", ["seed", "not a table"]),
        ("optimizer.steps", ["'optimizer.steps' is not key=value"]),
        ("=3", ["'=3' is not key=value"]),
        ("optimizer.steps=2\nseed=3", ["optimizer.steps", "not a whole number"]),
    ],
)
def test_a_value_that_cannot_work_is_refused(word: str, said: list[str]) -> None:
    line = refusal(word)
    for part in said:
        assert part in line


def test_limits_are_within_reach() -> None:
    for word in ("seed=0", f"seed={2**63 - 1}", "optimizer.warmup_steps=0", "tokenizer.vocab_size=259"):
        load_recipe(TINY, [word])
    load_recipe(TINY, ["optimizer.betas=[0, 0]", "optimizer.weight_decay=0", "optimizer.steps=1"])
    for size in HEAD_DIMS:
        shape = load_recipe(TINY, [f"model.hidden_size={4 * size}"]).model
        assert shape.head_dim * shape.num_heads == shape.hidden_size


@settings(max_examples=50, deadline=None)
@given(
    integer=st.integers(1, 2**40),
    number=st.floats(1e-9, 1e9),
    text=st.from_regex(r"[a-zA-Z/_.~ -]{1,30}", fullmatch=True).filter(lambda text: text.strip() == text),
)
def test_an_override_sets_its_key_and_no_other(integer: int, number: float, text: str) -> None:
    words = {
        "seed": integer,
        "optimizer.steps": integer,
        "optimizer.learning_rate": number,
        "optimizer.betas": [0.5, 0.25],
        "output": text,
    }
    # nan, inf and true are TOML: text that looks so needs its quotes.
    written = {**words, "output": f'"{text}"'}
    recipe = load_recipe(TINY, [f"{key}={value}" for key, value in written.items()])
    assert leaves(as_table(recipe)) == {**LEAVES, **words}


def test_text_needs_no_quotes_and_may_hold_what_toml_gives_a_meaning() -> None:
    for text in ("runs/a b", "/tmp/x=y", "späte[Nacht]#1", "a.b.c", '"half'):
        assert load_recipe(TINY, [f"output={text}"]).output == text


def test_an_integer_may_stand_for_a_number_and_the_last_word_wins() -> None:
    recipe = load_recipe(TINY, ["optimizer.learning_rate=1", "seed=1", "seed=2"])
    assert (recipe.optimizer.learning_rate, recipe.seed) == (1.0, 2)
    assert type(recipe.optimizer.learning_rate) is float


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    assert "nowhere.toml cannot be read" in refusal(path=tmp_path / "nowhere.toml")
    assert "cannot be read" in refusal(path=tmp_path)
    broken = tmp_path / "broken.toml"
    for content in (b"kind = sft", b"\xff\xfe", b"seed = 1\nseed = 2"):
        broken.write_bytes(content)
        assert "is not valid TOML" in refusal(path=broken)
