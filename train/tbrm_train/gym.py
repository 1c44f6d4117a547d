"""Prompts from reasoning-gym's generators (Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760).

    source = "reasoning_gym:shortest_path"                      one dataset
    source = "reasoning_gym:shortest_path,largest_island"       several, in turn
    [prompts.options.shortest_path]                             the dataset's own options
    max_rows = 6

A problem is its dataset, options, seed and index: whoever knows these can make it again, and the process that scores
answers does. The order of problems is that of their indices. Needs the extra `reasoning-gym`.

Example: the first problem asks the way through a grid; its answer reads "up up right up", and another way of that
length scores 1 as well.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import Gold, Problem, ProblemKey

PREFIX = "reasoning_gym:"
# Keys of every dataset that the recipe has keys of its own for.
OURS = {"seed": "prompts.seed", "size": "prompts.num_prompts"}
Options = Mapping[str, Mapping[str, Any]]


def is_gym(source: str) -> bool:
    """Return whether a prompt source is reasoning-gym's."""
    return source.startswith(PREFIX)


def dataset_names(source: str) -> tuple[str, ...]:
    """Return the datasets of a source, none if it is another's."""
    return tuple(name.strip() for name in source.removeprefix(PREFIX).split(",")) if is_gym(source) else ()


def gym_problems(source: str, options: Options, *, count: int, seed: int) -> list[Problem]:
    """Return `count` problems, of each dataset the same number but one, in turn.

    Raises UserError for a dataset or an option that does not exist or cannot work, MissingExtra without the package.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise MissingExtra("reasoning-gym", "reasoning-gym")
    names = dataset_names(source)
    datasets = [_dataset(name, options.get(name, {}), seed=seed, size=_size(count, names)) for name in names]
    return [_problem(names, datasets, number) for number in range(count)]


def fingerprint(question: str) -> str:
    """Return what tells whether a problem that was made again is the one that was asked."""
    return hashlib.blake2b(question.encode(), digest_size=8).hexdigest()


def recreation(key: ProblemKey, options: Options, *, source: str, count: int, seed: int) -> dict[str, Any]:
    """Return what `gym_scorer` needs to make a problem of `gym_problems` again, given the same arguments."""
    name = key.task.removeprefix(PREFIX)
    index, _, check = key.problem_id.partition("-")
    drawn = {"seed": _seed(seed, name), "size": _size(count, dataset_names(source))}
    return {
        "dataset": name,
        "options": {**options.get(name, {}), **drawn},
        "index": int(index),
        "fingerprint": check,
    }


def _seed(seed: int, name: str) -> int:
    # reasoning-gym draws problem i of seed s from s + i: seeds 1 and 2 as they are would share all problems but one.
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=4).digest()) >> 1


def _size(count: int, names: tuple[str, ...]) -> int:
    return -(-count // len(names))


def _problem(names: tuple[str, ...], datasets: list[Any], number: int) -> Problem:
    place, index = number % len(names), number // len(names)
    entry = datasets[place][index]
    question = entry["question"]
    key = ProblemKey(f"{PREFIX}{names[place]}", f"{index:06d}-{fingerprint(question)}")
    return Problem(key, question, Gold((str(entry["answer"]),)), cluster=" ".join(question.split()))


def _dataset(name: str, options: Mapping[str, Any], *, seed: int, size: int) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    if name not in DATASETS:
        raise UserError(f"prompts.source: reasoning-gym has no dataset {name!r}; {did_you_mean(name, DATASETS)}")
    known = [field.name for field in fields(DATASETS[name][1])]
    for option in options:
        if option in OURS:
            raise UserError(f"[prompts.options.{name}] has the key {option!r}; give {OURS[option]} in its place")
        if option not in known:
            raise UserError(f"[prompts.options.{name}] has no key {option!r}; {did_you_mean(option, known)}")
    try:
        return create_dataset(name, seed=_seed(seed, name), size=size, **options)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"[prompts.options.{name}] {json.dumps(dict(options))} cannot work: {error}") from None
