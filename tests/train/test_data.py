"""Prompts: never a test expression, an order that (seed, step) alone decides, a validation apart, one copy of each."""

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.grading import grade
from tbrm_bench.problems import load_problems
from tbrm_bench.prompts import load_tokenizer
from tbrm_bench.records import Gold, Problem, ProblemKey, Prompt, Sampling, Status
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.tasks import load_task
from tbrm_train.data import PromptSet, TrainingPrompt, load_prompts, load_source, requests, step_prompts
from tbrm_train.rl_recipe import RlRecipe
from tbrm_train.rl_rules import load_rl_recipe

TINY = Path(__file__).resolve().parents[2] / "train" / "recipes" / "tiny-tbrm.toml"
CONTEXT = 8192


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(builtin_model_dir("tiny"))


def tiny(*words: str) -> RlRecipe:
    return load_rl_recipe(TINY, ["prompts.num_prompts=400", "prompts.validation=40", *words])


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> PromptSet:
    return load_prompts(tiny(), tokenizer, CONTEXT)


def item(name: str) -> TrainingPrompt:
    problem = Problem(ProblemKey("t", name), name, Gold(("1",)), cluster=name)
    return TrainingPrompt(problem, Prompt(problem.key, name, (1, 2)))


def test_no_question_of_the_task_is_trained_on(prompts: PromptSet) -> None:
    tested = {problem.question for problem in load_problems(load_task("arithmetic"))}
    expressions = {question.removeprefix("What is ").removeprefix("Compute ").rstrip("?.") for question in tested}
    for trained in (*prompts.train, *prompts.validation):
        assert trained.problem.cluster not in expressions
        assert trained.problem.cluster in trained.problem.question


def terms(expression: str) -> list[str]:
    """Return the terms of a sum, a minus taken into the term after it."""
    return expression.replace("- ", "+ -").split("+")


def test_golds_are_the_values_of_the_expressions(prompts: PromptSet) -> None:
    for trained in prompts.train[:100]:
        value = sum(math.prod(map(int, term.split("*"))) for term in terms(trained.problem.cluster))
        assert grade(f"\\boxed{{{value}}}", trained.problem.gold).status is Status.CORRECT
        assert grade(f"\\boxed{{{value + 1}}}", trained.problem.gold).status is Status.WRONG


def test_validation_shares_no_expression_with_training(prompts: PromptSet) -> None:
    train, held_out = ({one.problem.cluster for one in part} for part in (prompts.train, prompts.validation))
    assert len(prompts.validation) == 40
    assert not train & held_out
    # Twins (one expression in two phrasings) go together, so at most a few prompts are in neither part.
    assert 400 - 5 <= len(prompts.train) + 40 <= 400


@settings(deadline=None)
@given(size=st.integers(1, 12), count=st.integers(1, 12), seed=st.integers(0, 9), steps=st.integers(1, 8))
def test_epochs_are_permutations_whatever_the_batch_size(size: int, count: int, seed: int, steps: int) -> None:
    train = [item(f"p{index}") for index in range(size)]
    picked = [one for step in range(steps) for one in step_prompts(train, seed=seed, step=step, count=count)]
    # One by one the order is the same: it belongs to the seed, not to the batch.
    alone = [step_prompts(train, seed=seed, step=number, count=1)[0] for number in range(len(picked))]
    assert picked == alone
    for epoch, chunk in itertools.groupby(picked, key=lambda one: one[1]):
        places = [place for place, _ in chunk]
        assert len(set(places)) == len(places)
        if (epoch + 1) * size <= len(picked):
            assert sorted(places) == list(range(size))


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    train = [item(f"p{index}") for index in range(40)]
    orders = {tuple(step_prompts(train, seed=seed, step=step, count=40)) for seed in (0, 1) for step in (0, 1)}
    assert len({tuple(place for place, _ in order) for order in orders}) == 4


def test_no_two_samples_of_a_training_share_a_seed() -> None:
    train = [item(f"p{index}") for index in range(5)]
    sampling = Sampling(1.0, 1.0, 8)
    seeds: Counter[int] = Counter()
    for step in range(8):  # three epochs
        chosen = [(train[place], epoch) for place, epoch in step_prompts(train, seed=3, step=step, count=2)]
        seeds.update(request.seed for request in requests(chosen, count=4, sampling=sampling, seed=3))
    assert len(seeds) == 8 * 2 * 4


def test_a_share_of_the_prompts_asks_for_the_same_samples() -> None:
    """What a process samples does not depend on how many there are."""
    chosen = [(item(f"p{index}"), index % 2) for index in range(6)]
    sampling = Sampling(1.0, 1.0, 8)
    whole = requests(chosen, count=3, sampling=sampling, seed=0)
    shares = [requests(chosen[rank::2], count=3, sampling=sampling, seed=0) for rank in (0, 1)]
    assert sorted(whole, key=lambda one: one.seed) == sorted(itertools.chain(*shares), key=lambda one: one.seed)


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


ROWS = (
    "prompts.source=rows",
    "prompts.rows.question=prompt.0.content",
    "prompts.rows.answer=reward.truth",
    "prompts.rows.files=['rows.jsonl']",
    "prompts.rows.question_prefix=Solve: ",
    "prompts.rows.question_suffix= Be brief.",
)


def row(question: str, answer: object) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": f"Solve: {question} Be brief."}], "reward": {"truth": answer}}


def test_rows_are_dug_out_trimmed_and_counted_once(tmp_path: Path) -> None:
    write_rows(tmp_path, [row("What is 1 + 1?", "2"), row("What is 1  + 1?", "2"), row("What is 2 + 2?", 4)] * 3)
    recipe = tiny(*ROWS, f"prompts.data_dir={tmp_path}")
    problems = load_source(recipe.prompts, seed=0)
    assert len(problems) == 9
    assert {problem.gold.answers for problem in problems} == {("2",), ("4",)}
    recipe = replace(recipe, rollout=replace(recipe.rollout, prompts_per_step=1))
    loaded = load_prompts(replace(recipe, prompts=replace(recipe.prompts, validation=1)), _any(), CONTEXT)
    assert sorted(one.problem.question for one in (*loaded.train, *loaded.validation)) == [
        "What is 1 + 1?",
        "What is 2 + 2?",
    ]


def _any() -> Any:
    return load_tokenizer(builtin_model_dir("tiny"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ["leaves 0 prompts", "0 found", "prompts_per_step is 32"]),
        ([{"prompt": [], "reward": {"truth": 1}}], ["rows.jsonl:1", "prompt.0.content"]),
        ([{"question": "1 + 1"}], ["no column 'prompt.0.content'", "found: question"]),
        ([row("", 1)], ["rows.jsonl:1", "question is empty"]),
        ([row("What is 1 + 1?", "")], ["rows.jsonl:1", "empty"]),
        ([row("What is 1 + 1?", "2")], ["leaves 0 prompts", "1 kept for validation"]),
    ],
)
def test_rows_that_cannot_be_trained_on_are_one_line(
    rows: list[dict[str, Any]], said: list[str], tmp_path: Path, tokenizer: Any
) -> None:
    write_rows(tmp_path, rows)
    with pytest.raises(UserError) as error:
        load_prompts(tiny(*ROWS, f"prompts.data_dir={tmp_path}"), tokenizer, CONTEXT)
    for part in said:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_the_test_side_of_a_generator_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="train on builtin:arithmetic"):
        load_prompts(tiny("prompts.source=arithmetic"), tokenizer, CONTEXT)


def test_a_prompt_too_long_is_left_out_and_told(tokenizer: Any, prompts: PromptSet) -> None:
    longest = prompts.longest
    recipe = tiny()
    fits = load_prompts(recipe, tokenizer, longest + recipe.rollout.max_tokens)
    assert (fits.train, fits.warnings) == (prompts.train, ())
    tight = load_prompts(recipe, tokenizer, longest - 1 + recipe.rollout.max_tokens)
    assert tight.longest == longest - 1
    assert "they are left out" in tight.warnings[0]


def test_another_prompt_at_evaluation_is_told_with_its_place(tokenizer: Any) -> None:
    assert load_prompts(tiny("evaluation.protocol=quickstart"), tokenizer, CONTEXT).warnings == ()
    (warning,) = load_prompts(tiny("evaluation.protocol=simplerl"), tokenizer, CONTEXT).warnings
    assert "(quickstart) and evaluation (simplerl) differ from token" in warning


def test_a_reported_benchmark_as_source_is_warned_about(real_data: Path, tokenizer: Any) -> None:
    words = ["prompts.source=math500", f"prompts.data_dir={real_data}", "prompts.num_prompts=60"]
    (warning,) = load_prompts(tiny(*words, "prompts.validation=4"), tokenizer, CONTEXT).warnings
    assert "math500 is a benchmark whose scores are reported" in warning
