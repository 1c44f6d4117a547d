"""The arms of a comparison: one base recipe, and the differences that each arm declares.

    tbrm                 an algorithm: the base recipe with algorithm.name replaced
    fast=tbrm            the same under another name, for `--set fast:optimizer.learning_rate=1e-5`
    arms/ppo.toml        an arm file, without `kind`: a few keys that override the base recipe, all of them declared
    recipes/ppo.toml     a complete recipe: it may differ in algorithm.*, any other difference must be declared

Arms share model, prompts, their order, seeds, sampling, rewards, evaluation and budget, without exception.
"""

import copy
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.config import read_toml, set_value
from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.recipes.read_keys import flat_keys, read_rl_recipe, read_table, without
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import check_rl_recipe, is_key_of

Table = dict[str, Any]

SHARED = (
    *("kind", "output", "seed", "model", "prompts", "rewards", "evaluation", "budget", "checkpoints", "logging"),
    *("rollout.temperature", "rollout.max_tokens", "optimizer.steps"),
)
# Keys of a complete recipe that do not affect its training: those of the base recipe are used.
IGNORED = ("output", "seed", "checkpoints", "logging", "rewards.workers")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Difference:
    """A key in which an arm differs from the base recipe, and where that is declared."""

    key: str
    base: Any
    arm: Any
    declared_by: str  # "the algorithm", "--set", an arm file's path


@dataclass(frozen=True, slots=True)
class Arm:
    """A resolved arm; `dropped` are coefficients, or other keys with dots, given for all arms that it does not read."""

    name: str
    recipe: RlRecipe
    differences: tuple[Difference, ...]
    dropped: tuple[str, ...]


def make_arms(
    path: Path, words: Sequence[str], *, specs: Sequence[str], declared: Sequence[str]
) -> tuple[RlRecipe, list[Arm]]:
    """Return the base recipe and its arms.

    `words` are key=value for all arms, `specs` as in the module docstring, `declared` are `arm:key=value`. Raises
    UserError for an arm that is unknown, repeated, or differs in a key that it does not declare or that all arms share.
    """
    table = read_table(path, words)
    if table.get("kind") != "rl":
        raise UserError(f"{path}: kind is {table.get('kind')!r}; only recipes of kind rl have algorithms to compare")
    _, unread = read_rl_recipe(table, place=str(path))
    base = check_rl_recipe(without(table, unread), place=str(path))
    named = [_named(spec) for spec in specs]
    names = [name for name, _ in named]
    if len(names) < 2:
        raise UserError(f"--arms names {len(names)} arm; a comparison needs two: --arms tbrm,grpo")
    for name in names:
        if [other.lower() for other in names].count(name.lower()) > 1:
            raise UserError(f"two arms are called {name!r}; give one another name: --arms {name},NAME={name}")
    own = _by_arm(declared, names)
    return base, [_Maker(base, table, name, own[name]).make(spec, words) for name, spec in named]


def _named(spec: str) -> tuple[str, str]:
    name, separator, rest = spec.partition("=")
    if not separator:
        name, rest = (spec if spec in ALGORITHMS else Path(spec).stem), spec
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot name an arm, which is a folder too; use letters, digits, '.', '_' and '-'")
    if rest not in ALGORITHMS and not rest.endswith(".toml"):
        raise UserError(f"{rest!r} is neither an algorithm nor a .toml file; {did_you_mean(rest, ALGORITHMS)}")
    return name, rest


def _by_arm(declared: Iterable[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the words key=value of each arm."""
    own: dict[str, list[str]] = {name: [] for name in names}
    for word in declared:
        name, separator, rest = word.partition(":")
        if not separator or "=" not in rest or "=" in name:
            raise UserError(f"--set {word!r} is not arm:key=value")
        if name not in own:
            raise UserError(f"--set {word!r}: no arm {name!r}; {did_you_mean(name, names)}")
        own[name].append(rest)
    return own


class _Maker:
    """Resolves one arm."""

    def __init__(self, base: RlRecipe, table: Table, name: str, words: Sequence[str]) -> None:
        self.base, self.table, self.name, self.words = base, table, name, words
        self.declared: dict[str, str] = {}
        self.own: Set[str] = set()  # keys of its own recipe

    def make(self, spec: str, common: Sequence[str]) -> Arm:
        """Return the arm of a specification."""
        if spec in ALGORITHMS:
            table = self._with_algorithm({"name": spec})
        else:
            given = read_toml(Path(spec))
            table = self._overridden(spec, given) if "kind" not in given else self._complete(spec, common)
        for word in self.words:
            key = word.partition("=")[0]
            self._check_free(key, f"--set {self.name}:{word}")
            self.declared[key] = "--set"
            set_value(table, word)
        place = f"arm {self.name}"
        # Keys given for all arms that this one does not read are dropped; those given for it alone are refused.
        unread, own = read_rl_recipe(table, place=place)[1], self.own | self.declared.keys()
        dropped = [key for key in unread if key not in own]
        recipe = check_rl_recipe(without(table, dropped), place=place)
        # The base recipe with this algorithm's name and no other difference.
        plain, _ = read_rl_recipe(self._with_algorithm({"name": recipe.algorithm.name}), place=place)
        ours = {**flat_keys(asdict(plain)), "algorithm.name": self.base.algorithm.name}
        differences = tuple(
            Difference(key, ours.get(key), value, self.declared.get(key, "the algorithm"))
            for key, value in flat_keys(asdict(recipe)).items()
            if ours.get(key) != value
        )
        return Arm(self.name, recipe, differences, tuple(key.removeprefix("algorithm.") for key in dropped))

    def _with_algorithm(self, keys: Table) -> Table:
        """Return the base recipe with some keys of its algorithm replaced."""
        table = copy.deepcopy(self.table)
        table["algorithm"] |= keys
        return table

    def _overridden(self, file: str, given: Table) -> Table:
        """Return the base recipe, overridden by an arm file's keys."""
        for key in flat_keys(given):
            self._check_free(key, file)
            self.declared[key] = file
        table = copy.deepcopy(self.table)
        for name, value in given.items():
            together = isinstance(value, dict) and isinstance(table.get(name), dict)
            table[name] = {**table[name], **value} if together else value
        return table

    def _complete(self, file: str, common: Sequence[str]) -> Table:
        """Return the base recipe with a complete recipe's algorithm; refuse other differences that are not declared."""
        theirs = read_table(Path(file))
        self.own = flat_keys(theirs).keys()
        for word in common:
            set_value(theirs, word)
        unread = [key for key in read_rl_recipe(theirs, place=file)[1] if key not in self.own]
        recipe = check_rl_recipe(without(theirs, unread), place=file)
        # The base recipe with this algorithm: also with keys that the base's own algorithm does not read.
        base, _ = read_rl_recipe({**self.table, "algorithm": theirs["algorithm"]}, place=file)
        ours, values = flat_keys(asdict(base)), flat_keys(asdict(recipe))
        declared = {word.partition("=")[0] for word in self.words}
        for key in sorted(ours.keys() | values.keys()):
            mine, other = ours.get(key), values.get(key)
            if mine == other or key in declared or is_key_of(key, ("algorithm", *IGNORED)):
                continue
            fixes = [f"remove it from {file}" if mine is None else f"give it for all arms: {key}={_word(mine)}"]
            if other is not None and not is_key_of(key, SHARED):
                fixes.insert(0, f"declare it: --set {self.name}:{key}={_word(other)}")
            raise UserError(
                f"arm {self.name} ({file}) differs undeclared: {key} is {_word(other)}, the base recipe has "
                f"{_word(mine)}; {', or '.join(fixes)}"
            )
        return {**copy.deepcopy(self.table), "algorithm": theirs["algorithm"]}

    def _check_free(self, key: str, source: str) -> None:
        if is_key_of(key, SHARED):
            raise UserError(f"{source}: all arms share {key}; give it for all of them, {key}=VALUE, or leave it out")


def _word(value: Any) -> str:
    """Return a value as it is written after key=; None as (unset)."""
    if value is None:
        return "(unset)"
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)
