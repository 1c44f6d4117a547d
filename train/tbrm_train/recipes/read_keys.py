"""Which keys of a recipe its algorithm reads: its coefficients, and the keys of the models that it needs.

    [algorithm]
    name = "reinforce"
    kl_coefficient = 0.7
        -> UserError: x.toml: reinforce does not read algorithm.kl_coefficient; it reads kl_in_reward, ...

`rl_rules` refuses keys that a person wrote and nothing reads; those that earlier versions stored, and those that an arm
of a comparison inherits from the base recipe, are dropped.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.config import Place, convert, from_table, read_toml, set_value
from tbrm_bench.errors import UserError
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.recipes.rl_recipe import RlRecipe

# The keys that an earlier version stored in [algorithm] of every recipe; no person writes all of them.
STORED_BEFORE = {
    *("name", "beta", "center_value", "center_reward", "freeze_value", "clip_low", "clip_high", "value_clip", "gamma"),
    *("lam", "kl_coefficient", "kl_in_reward", "entropy_coefficient", "updates_per_batch", "value_samples"),
}


def read_table(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return a recipe's table with the overrides applied; unread keys that an earlier version stored are dropped."""
    table = read_toml(path)
    if table_of(table, "algorithm").keys() >= STORED_BEFORE:
        table = without(table, read_rl_recipe(table, place=str(path))[1])
    for word in overrides:
        set_value(table, word)
    return table


def read_rl_recipe(table: Mapping[str, Any], *, place: str) -> tuple[RlRecipe, dict[str, str]]:
    """Return the recipe from the keys that are read, and the unread keys by their dotted names, each with the reason.

    Raises UserError for an unknown key, a value of the wrong type or a coefficient out of range.
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
    """Return the keys that any algorithm reads."""
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
    """Return a sub-table by name, empty if it is missing or no table."""
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def without(table: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return a copy of a table without some keys, given by their dotted names."""
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
