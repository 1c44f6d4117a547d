"""Which keys of a recipe its algorithm reads: its own coefficients, and those of what it needs.

    [algorithm]
    name = "reinforce"
    kl_coefficient = 0.7
        -> UserError: x.toml: reinforce does not read algorithm.kl_coefficient; it reads kl_in_reward, ...

What a person writes and nothing reads is refused by `rl_rules`; what earlier versions stored, and what an arm of a
comparison takes over from the base recipe, is left out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.config import Place, convert, from_table, read_toml, set_value
from tbrm_bench.errors import UserError
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.recipes.rl_recipe import RlRecipe

# What an earlier version stored in [algorithm] of every recipe; nobody writes all of it.
STORED_BEFORE = {
    *("name", "beta", "center_value", "center_reward", "freeze_value", "clip_low", "clip_high", "value_clip", "gamma"),
    *("lam", "kl_coefficient", "kl_in_reward", "entropy_coefficient", "updates_per_batch", "value_samples"),
}


def read_table(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return a recipe's table with the overrides in it; of one that an earlier version stored, what is read."""
    table = read_toml(path)
    if table_of(table, "algorithm").keys() >= STORED_BEFORE:
        table = without(table, read_rl_recipe(table, place=str(path))[1])
    for word in overrides:
        set_value(table, word)
    return table


def read_rl_recipe(table: Mapping[str, Any], *, place: str) -> tuple[RlRecipe, dict[str, str]]:
    """Return the recipe of what is read of a table, and its other keys by their dotted names, each with the reason.

    Raises UserError for a key that is no recipe's, a value of another type and a coefficient out of its range.
    """
    given = table_of(table, "algorithm")
    if "name" not in given:
        raise UserError(f"{place}: [algorithm] lacks the key 'name'; available: {', '.join(ALGORITHMS)}")
    name = convert(given["name"], Literal[tuple(ALGORITHMS)], Place(place, "algorithm.name"))
    coefficients = ALGORITHMS[name].coefficients
    own = [field.name for field in fields(coefficients)]
    foreign = [key for key in given if key not in own and key in coefficient_names()]
    keys = ", ".join(f"algorithm.{key}" for key in foreign)
    why = {f"algorithm.{key}": f"{name} does not read {keys}; it reads {', '.join(own[1:])}" for key in foreign}
    table = without(table, why)
    algorithm = from_table(table["algorithm"], coefficients, place=Place(place, "algorithm", root=RlRecipe))
    rest = {key: value for key, value in table.items() if key != "algorithm"}
    recipe = from_table(rest, RlRecipe, place=place, algorithm=algorithm)
    present = flat_keys(table)
    more = {key: reason for key, reason in unread_keys(recipe) if key in present}
    if not more:
        return recipe, why
    recipe, _ = read_rl_recipe(without(table, more), place=place)
    return recipe, why | more


def coefficient_names() -> frozenset[str]:
    """Return the keys that some algorithm reads."""
    return frozenset(field.name for item in ALGORITHMS.values() for field in fields(item.coefficients))


def unread_keys(recipe: RlRecipe) -> Iterator[tuple[str, str]]:
    """Yield the keys of a critic or a reference that the algorithm does not need, each with the reason."""
    needs, name = recipe.needs, recipe.algorithm.name
    if not needs.critic:
        key = "optimizer.critic_learning_rate"
        yield key, f"{key} is not read, since {name} has no critic"
    if not needs.reference and needs.reference_reset_every is not None:
        key = "algorithm.reference_reset_every"
        yield key, f"{key} is not read, since {name} has no reference while its KL coefficients are 0"


def table_of(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of a table, an empty one for what is none."""
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def without(table: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return a copy of a table without some keys, which are given by their dotted names."""
    return {
        key: without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in table.items()
        if f"{prefix}{key}" not in keys
    }


def flat_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by their dotted names: `optimizer.steps`."""
    return dict(_flat(table, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
