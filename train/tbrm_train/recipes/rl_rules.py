"""RL recipes read, checked, written out and compared.

As strict as `sft_recipe`: errors name the nearest known key, and values that cannot work, or keys that nothing reads,
are reported before anything is loaded. The resolved recipe, with the defaults of all keys that are read, is stored in
the output folder as recipe.toml:

    kind = "rl"
    output = "runs/tiny-tbrm"
    ...
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tbrm_bench.config import Place, convert, read_toml
from tbrm_bench.errors import UserError
from tbrm_bench.hub.repo import checked_repo_id
from tbrm_bench.prompts.protocol import load_protocol
from tbrm_bench.tasks.generators import GYM, gym_datasets
from tbrm_bench.tasks.spec import load_suite, load_task
from tbrm_train.recipes.read_keys import flat_keys, read_rl_recipe, read_table, unread_keys, without
from tbrm_train.recipes.rl_recipe import RlRecipe

INFINITY = float("inf")
# What may change when a training is resumed: it does not affect the weights, or is a limit that stopped the training
# and is to be raised.
FREE_KEYS = (
    *("output", "checkpoints.every", "checkpoints.keep_last", "checkpoints.push_to", "logging"),
    *("rewards.workers", "rewards.time_limit_s", "rewards.max_failed_share", "rollout.probe_tolerance"),
)
# Names whose content decides: another path to the same content is the same recipe.
NAMES = ("model", "prompts.protocol", "prompts.data_dir", "evaluation.protocol")
# What `inputs` stores too, also of trainings that are older than the keys.
BY_CONTENT = (*NAMES, "rewards.strict_boxed", "rewards.answer_tags")


def load_rl_recipe(path: Path, overrides: Sequence[str] = ()) -> RlRecipe:
    """Read and check a recipe; raises UserError that names the key, the value and what was expected."""
    return check_rl_recipe(read_table(path, overrides), place=str(path))


def check_rl_recipe(table: Mapping[str, Any], *, place: str) -> RlRecipe:
    """Return a table as a recipe, checked like a file by `load_rl_recipe`; errors call it `place`."""
    recipe, unread = read_rl_recipe(table, place=place)
    for why in unread.values():
        raise UserError(f"{place}: {why}; leave out what is not read")
    for key, value, holds, wanted in _rules(recipe):
        if not holds:
            raise UserError(f"{place}: {key} is {value}; {wanted}")
    if recipe.checkpoints.push_to is not None:
        checked_repo_id(recipe.checkpoints.push_to)
    load_protocol(recipe.prompts.protocol)
    if recipe.evaluation.protocol:
        load_protocol(recipe.evaluation.protocol)
    for task in recipe.evaluation.tasks:
        load_task(task)
    return recipe


def read_stored_recipe(path: Path) -> RlRecipe:
    """Return what `recipe_toml` wrote, without checking again: what it names may have moved since.

    Keys that earlier versions stored and nothing reads are dropped. Before `rewards.strict_boxed` was a key, the
    protocol decided, and answers were taken from anywhere under all that were shipped.
    """
    table = read_toml(path)
    if isinstance(rewards := table.setdefault("rewards", {}), dict):
        rewards.setdefault("strict_boxed", False)
    return read_rl_recipe(table, place=str(path))[0]


def recipe_kind(path: Path, overrides: Sequence[str] = ()) -> Literal["sft", "rl"]:
    """Return the recipe's kind without reading anything else; raises UserError for an unknown one."""
    kind = read_toml(path, overrides=overrides).get("kind")
    return convert(kind, Literal["sft", "rl"], Place(str(path), "kind"))  # type: ignore[no-any-return]


def reported_tasks() -> frozenset[str]:
    """Return the benchmarks whose scores papers report: training on their prompts would contaminate them."""
    return frozenset(load_suite("tbrm6").tasks)


def recipe_toml(recipe: RlRecipe) -> str:
    """Return the recipe as TOML, with the defaults of all keys that are read; `load_rl_recipe` reads it back."""
    return "\n".join(_toml_lines(without(asdict(recipe), dict(unread_keys(recipe))), ""))


def recipe_changes(ours: RlRecipe, theirs: RlRecipe, *, by_content: bool = False) -> list[str]:
    """Return a line for every key that affects the weights and differs: `optimizer.steps: 5, not 4`.

    With `by_content`, keys are ignored that name a model, a protocol or a folder, or say which answers count: `inputs`
    compares their content.
    """
    free = (*FREE_KEYS, *BY_CONTENT) if by_content else FREE_KEYS
    mine, other = flat_keys(asdict(ours)), flat_keys(asdict(theirs))
    keys = [key for key in mine | other if not is_key_of(key, free)]
    return [f"{key}: {mine.get(key)!r}, not {other.get(key)!r}" for key in keys if mine.get(key) != other.get(key)]


def is_key_of(key: str, tables: Iterable[str]) -> bool:
    """Return whether a key is one of these, or in one of these tables."""
    return any(key == table or key.startswith(f"{table}.") for table in tables)


def _toml_lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield scalars first, then sub-tables under their headers; None is left out, as TOML has no such value."""
    if name:
        yield f"\n[{name}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            # The one character that JSON does not escape and TOML forbids.
            yield f"{key} = {text}".replace("\x7f", "\\u007f")
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, f"{name}.{key}" if name else key)


def _rules(recipe: RlRecipe) -> Iterator[tuple[str, object, bool, str]]:
    """Yield (key, value, whether it is valid, what is needed) for the rules between keys."""
    needs, group, compares = (
        recipe.needs,
        recipe.rollout.samples_per_prompt,
        f"{recipe.algorithm.name} compares samples",
    )
    yield "rollout.samples_per_prompt", group, group >= 2 or not needs.groups, f"{compares}: 2 or more"
    updates = needs.updates_per_batch
    yield (
        "algorithm.updates_per_batch",
        updates,
        updates <= recipe.batch_size,
        (f"a batch has {recipe.batch_size} trajectories"),
    )
    stage, dtype = recipe.deepspeed.zero_stage, recipe.deepspeed.dtype
    # DeepSpeed's bfloat16 optimiser at stage 0 keeps no float32 gradients and drifts fifty times as far.
    yield "deepspeed.zero_stage", stage, stage > 0 or dtype == "float32", f"1 or more is needed with dtype {dtype}"
    yield (
        "deepspeed.offload",
        recipe.deepspeed.offload,
        stage > 0 or not recipe.deepspeed.offload,
        ("offloading needs zero_stage 1 or more"),
    )
    tags, strict = recipe.rewards.answer_tags, recipe.rewards.strict_boxed
    said = "with strict_boxed false they count anyway; leave it out"
    yield "rewards.answer_tags", tags, strict or not tags, said
    count, needed, held = recipe.prompts.num_prompts, recipe.rollout.prompts_per_step, recipe.prompts.validation
    left = needed if count is None else max(0, count - held)
    said = f"leaves {left} prompts for training beside prompts.validation={held}"
    yield "prompts.num_prompts", count, left >= needed, f"{said}, but rollout.prompts_per_step is {needed}"
    source, has_rows = recipe.prompts.source, recipe.prompts.rows is not None
    yield "prompts.source", source, (source == "rows") == has_rows, "a table [prompts.rows] belongs to source 'rows'"
    for dataset in recipe.prompts.options:
        is_asked = dataset in gym_datasets(source)
        yield "prompts.source", source, is_asked, f"[prompts.options.{dataset}] belongs to source '{GYM}{dataset}'"
