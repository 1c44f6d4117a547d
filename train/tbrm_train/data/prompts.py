"""Prompts to train on: a source, the bench's own rendering, in an order that is a function of (seed, step).

    builtin:arithmetic     expressions of the training side; the task `arithmetic` asks the others
    math500, ...           any task of the bench, by name (warned about when papers report its scores)
    reasoning-gym:maze     problems of reasoning-gym's generators, judged by its scorers (see `generators.gym`)
    rows                   rows of the Hub or of a folder, described in [prompts.rows]; the same question counts once

Each epoch is one permutation of the prompts, drawn by hashing (seed, epoch, id): a step of any run, resumed or not,
asks the same questions on every machine. A cluster of related questions is entirely in training or in validation.
"""

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.grading.normalize import RULES, normalize_gold
from tbrm_bench.missing import spells_missing
from tbrm_bench.prompts.protocol import Protocol, load_protocol
from tbrm_bench.prompts.render import render_prompts
from tbrm_bench.records import Gold, Problem, ProblemKey, Prompt, SampleKey, SampleRequest, Sampling
from tbrm_bench.seeds import sample_seed
from tbrm_bench.tasks.generators import gym_datasets
from tbrm_bench.tasks.generators.arithmetic import PHRASINGS, training_pairs
from tbrm_bench.tasks.generators.gym import gym_problems
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.rows import Row, read_rows
from tbrm_bench.tasks.spec import Columns, HubSource, TaskSpec, load_task
from tbrm_train.data.gold_check import Sourced, choose, choose_unchecked
from tbrm_train.recipes.rl_recipe import Prompts, RlRecipe, Rows
from tbrm_train.recipes.rl_rules import reported_tasks

ARITHMETIC = "builtin:arithmetic"
NUM_GENERATED = 4096


@dataclass(frozen=True, slots=True)
class TrainingPrompt:
    """A problem and what the model sees of it."""

    problem: Problem
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The training and validation prompts, and warnings about them."""

    train: tuple[TrainingPrompt, ...]
    validation: tuple[TrainingPrompt, ...]
    warnings: tuple[str, ...]

    @property
    def longest(self) -> int:
        """The longest prompt, in tokens."""
        return max(len(item.prompt.token_ids) for item in (*self.train, *self.validation))


def load_prompts(recipe: RlRecipe, tokenizer: Any, context_length: int) -> PromptSet:
    """Load, render, filter and split the prompts; raises UserError if too few are left for a step."""
    prompts, needed = recipe.prompts, recipe.rollout.prompts_per_step
    problems, gold_warnings = _choose(recipe)
    rendered = render_prompts(problems, load_protocol(prompts.protocol), tokenizer)
    room = context_length - recipe.rollout.max_tokens
    items = [
        TrainingPrompt(problem, prompt)
        for problem, prompt in zip(problems, rendered, strict=True)
        if len(prompt.token_ids) <= room
    ]
    train, validation = _split(items, prompts.validation, seed=recipe.data_seed)
    if len(train) < needed:
        raise UserError(
            f"prompts.source {prompts.source} leaves {len(train)} prompts for training ({len(problems)} found, "
            f"{len(problems) - len(items)} too long, {len(validation)} kept for validation), but "
            f"rollout.prompts_per_step is {needed}; give more prompts or lower it"
        )
    warnings = [*_source_warnings(prompts), *gold_warnings, *_prompt_warnings(recipe, items[0], tokenizer)]
    if len(items) < len(problems):
        warnings.append(
            f"{len(problems) - len(items)} of {len(problems)} prompts leave less than {recipe.rollout.max_tokens} "
            f"tokens of the model's context of {context_length}; they are left out"
        )
    return PromptSet(tuple(train), tuple(validation), tuple(warnings))


def load_source(prompts: Prompts, *, seed: int) -> list[Problem]:
    """Return the source's problems in its own order; raises UserError, or MissingPrerequisite without network."""
    if prompts.rows is not None:
        return [item.problem for item in _read(prompts)]
    folder = Path(prompts.data_dir) if prompts.data_dir else None
    if prompts.source == ARITHMETIC:
        return _arithmetic(prompts.num_prompts or NUM_GENERATED, seed)
    if gym_datasets(prompts.source):
        return gym_problems(prompts.source, prompts.options, count=prompts.num_prompts or NUM_GENERATED, seed=seed)
    spec = load_task(prompts.source)
    if spec.generator is not None:
        raise UserError(f"prompts.source {spec.name} is what models are tested on; train on builtin:{spec.name}")
    return load_problems(spec, data_dir=folder)


def step_prompts(train: Sequence[TrainingPrompt], *, seed: int, step: int, count: int) -> list[tuple[int, int]]:
    """Return (index into `train`, epoch) of each prompt of a step: a function of the arguments alone."""
    ids = tuple(item.problem.key for item in train)
    picked = range(step * count, (step + 1) * count)
    return [(epoch_order(ids, seed, number // len(ids))[number % len(ids)], number // len(ids)) for number in picked]


@functools.lru_cache(maxsize=2)
def epoch_order(ids: tuple[ProblemKey, ...], seed: int, epoch: int) -> list[int]:
    """Return the permutation of one epoch."""
    return sorted(range(len(ids)), key=lambda index: _draw(seed, epoch, *ids[index]))


def requests(
    chosen: Iterable[tuple[TrainingPrompt, int]], *, count: int, sampling: Sampling, seed: int
) -> list[SampleRequest]:
    """Return `count` requests per prompt. Seeds depend on (run seed, problem, epoch, sample), never on the batch."""
    made = []
    for item, epoch in chosen:
        for number in range(count):
            key = SampleKey(*item.problem.key, epoch * count + number)
            made.append(SampleRequest(key, item.prompt.token_ids, sampling, sample_seed(seed, key)))
    return made


def _arithmetic(count: int, seed: int) -> list[Problem]:
    """Return distinct questions of the training side."""
    seen: dict[str, str] = {}
    # The smallest levels run out after some hundred thousand draws; this bound is far below and prevents a hang.
    for question, solution in itertools.islice(training_pairs(seed), 40 * count):
        seen.setdefault(question, solution)
        if len(seen) == count:
            break
    return [
        Problem(
            key=ProblemKey("arithmetic-training", f"{number:06d}"),
            question=question,
            gold=Gold((solution.rpartition("{")[2].rstrip("}"),), kind="integer"),
            cluster=_expression(question),
        )
        for number, (question, solution) in enumerate(seen.items())
    ]


def _expression(question: str) -> str:
    for phrasing in PHRASINGS:
        before, after = phrasing.split("{}")
        if question.startswith(before) and question.endswith(after):
            return question[len(before) : len(question) - len(after)]
    raise AssertionError(question)


def _choose(recipe: RlRecipe) -> tuple[list[Problem], list[str]]:
    """Return the problems to train on and what to warn about."""
    prompts = recipe.prompts
    if prompts.rows is not None:
        sourced = _read(prompts)
        problems, warnings = choose(sourced, prompts, recipe.rewards)
        return problems, [*_cut_warnings(prompts.rows, sourced), *warnings]
    problems = load_source(prompts, seed=recipe.data_seed)
    sourced = [Sourced(problem, problem.key.problem_id) for problem in problems]
    if gym_datasets(prompts.source):  # graded by its own scorers, not by the gold alone
        return choose_unchecked(sourced, prompts)
    return choose(sourced, prompts, recipe.rewards)


def _read(prompts: Prompts) -> list[Sourced]:
    rows = prompts.rows
    assert rows is not None
    name = rows.repo.rpartition("/")[2] or "rows"
    spec = TaskSpec(
        name=name, title=name, source=rows.repo, paper="", licence="", notes="", num_rows=1,
        answer_kind=rows.answer_kind, cluster_rule="none", gold_rule=rows.gold_rule, files=rows.files,
        hub=HubSource(rows.repo, rows.split, rows.revision, rows.config) if rows.repo else None,
        columns=Columns(question=(rows.question,), answer=(rows.answer,)),
    )  # fmt: skip
    folder = Path(prompts.data_dir) if prompts.data_dir else None
    return [_sourced(rows, row, f"{number:06d}", name) for number, row in enumerate(read_rows(spec, folder))]


def _sourced(rows: Rows, row: Row, problem_id: str, task: str) -> Sourced:
    question = _dig(row, rows.question)
    if not isinstance(question, str) or spells_missing(question):
        raise UserError(
            f"{row.place}: {rows.question} is {question!r:.60}, not text; name another [prompts.rows] column"
        )
    cuts = question.startswith(rows.question_prefix), question.endswith(rows.question_suffix)
    question = question.removeprefix(rows.question_prefix).removesuffix(rows.question_suffix).strip()
    if not question:
        raise UserError(f"{row.place}: the question is empty; fix the row")
    answers, fault = _answers(rows, row)
    problem = Problem(
        key=ProblemKey(task, problem_id),
        question=question,
        gold=Gold(answers, kind=rows.answer_kind),
        cluster=" ".join(question.split()),
    )
    return Sourced(problem, row.place, fault, cuts)


def _answers(rows: Rows, row: Row) -> tuple[tuple[str, ...], str]:
    """Return the answers, or the reason why there are none."""
    raw = _dig(row, rows.answer)
    try:
        return normalize_gold(raw, rows.gold_rule), ""
    except UserError as error:
        if rows.gold_rule not in RULES:
            raise
        return (), str(error)


def _cut_warnings(rows: Rows, sourced: Sequence[Sourced]) -> Iterator[str]:
    """Yield a warning for a prefix or suffix that some questions do not have: those are asked unchanged."""
    for index, key in enumerate(("question_prefix", "question_suffix")):
        others = [item for item in sourced if not item.cuts[index]]
        if others:
            yield (
                f"prompts.rows.{key} is that of {len(sourced) - len(others)} of {len(sourced)} questions; the first "
                f"without it is at {others[0].location}: {others[0].problem.question!r:.60}"
            )


def _dig(row: Row, path: str) -> Any:
    value: Any = row.values
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, ValueError, IndexError, TypeError):
            found = ", ".join(map(str, row.values)) or "none"
            raise UserError(f"{row.place}: no column {path!r} at {part!r}; found: {found}") from None
    return value


def _split(
    items: Sequence[TrainingPrompt], count: int, *, seed: int
) -> tuple[list[TrainingPrompt], list[TrainingPrompt]]:
    """Hold out entire clusters until `count` prompts are held out; both parts keep the order of the source."""
    held: set[str] = set()
    num_held = 0
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.problem.cluster] = sizes.get(item.problem.cluster, 0) + 1
    for cluster in sorted(sizes, key=lambda name: _draw(seed, "validation", name)):
        if num_held >= count:
            break
        held.add(cluster)
        num_held += sizes[cluster]
    train = [item for item in items if item.problem.cluster not in held]
    return train, [item for item in items if item.problem.cluster in held][:count]


def _source_warnings(prompts: Prompts) -> Iterator[str]:
    if prompts.source in reported_tasks():
        yield (
            f"prompts.source {prompts.source} is a benchmark whose scores are reported: this training sees its "
            "questions, and so does its validation"
        )


def _prompt_warnings(recipe: RlRecipe, item: TrainingPrompt, tokenizer: Any) -> Iterator[str]:
    """Compare the prompt of training with that of the evaluation, token by token."""
    name = recipe.evaluation.protocol
    if name is None or name == recipe.prompts.protocol:
        return
    ours, theirs = item.prompt.token_ids, _render(item.problem, load_protocol(name), tokenizer)
    if ours == theirs:
        return
    start = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(ours), len(theirs)) if start is None else start
    yield (
        f"the prompts of training ({recipe.prompts.protocol}) and evaluation ({name}) differ from token {start} on: "
        f"{tokenizer.decode(ours[start:][:12])!r} and {tokenizer.decode(theirs[start:][:12])!r}"
    )


def _render(problem: Problem, protocol: Protocol, tokenizer: Any) -> tuple[int, ...]:
    return render_prompts([replace(problem)], protocol, tokenizer)[0].token_ids


def _draw(*name: object) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, name)).encode(), digest_size=16).digest()
