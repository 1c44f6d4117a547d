"""Problems of reasoning-gym's generators (Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760).

    [generator]                                   of a task; prompts of a training have `source` and `num_prompts`
    name = "reasoning-gym:shortest_path"
    seed = 7
    [generator.options.shortest_path]             the dataset's own options
    max_rows = 6

A problem is its dataset, options, seed and index: whoever knows these can make it again, and the process that scores
answers does (see `grading.scored`). The order of problems is that of their indices. Needs the extra `reasoning-gym`.

Example: the first problem asks the way through a grid; its answer reads "up up right up", and another way of that
length scores 1 as well.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from tbrm_bench.errors import UserError
from tbrm_bench.grading.workers.scored import fingerprint, require_gym
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.records import Gold, Problem, ProblemKey
from tbrm_bench.tasks.generators import gym_datasets

PREFIX = "reasoning_gym:"  # of the keys that seeds of trainings are made of
# What a generator raises for options that cannot work.
FAILURES = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
Options = Mapping[str, Mapping[str, Any]]


class Keys(NamedTuple):
    """How errors name where a person has written the source, the datasets' options, the seed and the number."""

    source: str
    options: str
    seed: str
    size: str


PROMPTS = Keys("prompts.source", "prompts.options", "prompts.seed", "prompts.num_prompts")


def gym_problems(source: str, options: Options, *, count: int, seed: int, keys: Keys = PROMPTS) -> list[Problem]:
    """Return `count` problems, of each dataset the same number but one, in turn.

    Raises UserError for a dataset or an option that does not exist or cannot work, MissingExtra without the package.
    """
    require_gym()
    names = gym_datasets(source)
    size = _size(count, names)
    datasets = [_dataset(name, options.get(name, {}), seed=seed, size=size, keys=keys) for name in names]
    return [_problem(names, datasets, number, options, keys) for number in range(count)]


def scored_problems(task: str, source: str, options: Options, *, count: int, seed: int) -> list[Problem]:
    """Return the problems as those of a task, each with what its dataset's scorer needs to judge an answer.

    Their golds are one answer of many, and of datasets that give none they have none.
    """
    keys = Keys(f"task {task}: generator.name", "generator.options", "generator.seed", "num_rows")
    names = gym_datasets(source)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{keys.source} {source!r} names {twice!r} twice; name it once")
    return [
        replace(
            problem,
            key=ProblemKey(task, f"{problem.key.task.removeprefix(PREFIX)}-{problem.key.problem_id}"),
            gold=Gold(
                tuple(answer for answer in problem.gold.answers if answer != "None"),
                scorer=recreation(problem.key, options, source=source, count=count, seed=seed),
            ),
        )
        for problem in gym_problems(source, options, count=count, seed=seed, keys=keys)
    ]


def recreation(key: ProblemKey, options: Options, *, source: str, count: int, seed: int) -> str:
    """Return a gold's `scorer`: what makes a problem of `gym_problems` again, given the same arguments, as JSON."""
    name = key.task.removeprefix(PREFIX)
    index, _, check = key.problem_id.partition("-")
    drawn = {"seed": _seed(seed, name), "size": _size(count, gym_datasets(source))}
    made = {
        "dataset": name,
        "options": {**options.get(name, {}), **drawn},
        "index": int(index),
        "fingerprint": check,
    }
    return json.dumps(made)


def _seed(seed: int, name: str) -> int:
    # reasoning-gym draws problem i of seed s from s + i: seeds 1 and 2 as they are would share all problems but one.
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=4).digest()) >> 1


def _size(count: int, names: tuple[str, ...]) -> int:
    return -(-count // len(names))


def _problem(names: tuple[str, ...], datasets: list[Any], number: int, options: Options, keys: Keys) -> Problem:
    place, index = number % len(names), number // len(names)
    name = names[place]
    try:
        entry = datasets[place][index]
    except FAILURES as error:
        raise _cannot_work(name, options.get(name, {}), keys, error) from None
    question = entry["question"]
    key = ProblemKey(f"{PREFIX}{name}", f"{index:06d}-{fingerprint(question)}")
    return Problem(key, question, Gold((str(entry["answer"]),)), cluster=" ".join(question.split()))


def _dataset(name: str, options: Mapping[str, Any], *, seed: int, size: int, keys: Keys) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    ours = {"seed": keys.seed, "size": keys.size}
    if name not in DATASETS:
        raise UserError(f"{keys.source}: reasoning-gym has no dataset {name!r}; {did_you_mean(name, DATASETS)}")
    known = [field.name for field in fields(DATASETS[name][1])]
    for option in options:
        if option in ours:
            raise UserError(f"[{keys.options}.{name}] has the key {option!r}; use {ours[option]} instead")
        if option not in known:
            raise UserError(f"[{keys.options}.{name}] has no key {option!r}; {did_you_mean(option, known)}")
    try:
        return create_dataset(name, seed=_seed(seed, name), size=size, **options)
    except FAILURES as error:
        raise _cannot_work(name, options, keys, error) from None


def _cannot_work(name: str, options: Mapping[str, Any], keys: Keys, error: Exception) -> UserError:
    shown = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"[{keys.options}.{name}] {json.dumps(dict(options))} cannot work: {shown}")
