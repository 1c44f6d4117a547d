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
from tbrm_bench.grading.selftest import unearnable_golds
from tbrm_bench.prompts.render import load_tokenizer
from tbrm_bench.records import Gold, Problem, ProblemKey, Prompt, Sampling, Status
from tbrm_bench.resources import builtin_model_dir
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task
from tbrm_train.data.prompts import PromptSet, TrainingPrompt, load_prompts, load_source, requests, step_prompts
from tbrm_train.recipes.rl_recipe import RlRecipe
from tbrm_train.recipes.rl_rules import load_rl_recipe

TINY = Path(__file__).resolve().parents[3] / "train" / "recipes" / "tiny-tbrm.toml"
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
        indices = [index for index, _ in chunk]
        assert len(set(indices)) == len(indices)
        if (epoch + 1) * size <= len(picked):
            assert sorted(indices) == list(range(size))


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    train = [item(f"p{index}") for index in range(40)]
    orders = {tuple(step_prompts(train, seed=seed, step=step, count=40)) for seed in (0, 1) for step in (0, 1)}
    assert len({tuple(index for index, _ in order) for order in orders}) == 4


def test_no_two_samples_of_a_training_share_a_seed() -> None:
    train = [item(f"p{index}") for index in range(5)]
    sampling = Sampling(1.0, 1.0, 8)
    seeds: Counter[int] = Counter()
    for step in range(8):  # three epochs
        chosen = [(train[index], epoch) for index, epoch in step_prompts(train, seed=3, step=step, count=2)]
        seeds.update(request.seed for request in requests(chosen, count=4, sampling=sampling, seed=3))
    assert len(seeds) == 8 * 2 * 4


def test_a_share_of_the_prompts_asks_for_the_same_samples() -> None:
    """What a process samples does not depend on how many there are."""
    chosen = [(item(f"p{index}"), index % 2) for index in range(6)]
    sampling = Sampling(1.0, 1.0, 8)
    together = requests(chosen, count=3, sampling=sampling, seed=0)
    shards = [requests(chosen[rank::2], count=3, sampling=sampling, seed=0) for rank in (0, 1)]
    assert sorted(together, key=lambda one: one.seed) == sorted(itertools.chain(*shards), key=lambda one: one.seed)


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


GSM8K = "She has 7 + 7 = <<7+7=14>>14 apples, and a cat.\n#### {}"
GOOD = [row(f"What is {number} + 0?", number) for number in range(3)]
FEW = ("rollout.prompts_per_step=2", "prompts.validation=1")


def load_rows(tmp_path: Path, tokenizer: Any, rows: list[dict[str, Any]], *words: str) -> PromptSet:
    write_rows(tmp_path, rows)
    recipe = tiny(*ROWS, f"prompts.data_dir={tmp_path}", *FEW, *words)
    return load_prompts(replace(recipe, prompts=replace(recipe.prompts, num_prompts=None)), tokenizer, CONTEXT)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "null or NaN"),
        (float("nan"), "null or NaN"),
        ([], "null or NaN"),
        ([None, float("nan")], "null or NaN"),
        ("None", "'None', as a missing value is written"),
        ("notfound", "'notfound', which means no answer"),
        ("nan", "'nan', as a missing value is written"),
        ("", "empty"),
        (float("inf"), "not a string, a number"),
        ({"value": 14}, "not a string, a number"),
        ([["14"]], "not a string, a number"),
        (GSM8K.format(14), "the gold rule 'gsm8k'"),
        (GSM8K.format(14).replace("\n", " "), "the gold rule 'gsm8k'"),
        ("So she has 14 apples.", "another answer, '14'"),
        ("7 + 7 = 14, as we see.\nThis was to be found in the end.", "another answer, '14'"),
        ("The answer is 14.", "another answer, '14'"),
        (r"\frac{14", "unterminated_box"),
        ("x" * 3000, "3,000 characters"),
    ],
)
def test_a_gold_that_no_answer_can_earn_is_refused_by_its_row(
    answer: Any, said: str, tmp_path: Path, tokenizer: Any
) -> None:
    rows = [*GOOD, row("How many apples?", answer)]
    with pytest.raises(
        UserError, match=r"1 of 4 questions have a gold that cannot be trained on: rows.jsonl:4: "
    ) as error:
        load_rows(tmp_path, tokenizer, rows)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    # The way out that the message names.
    assert "prompts.bad_golds=leave_out" in str(error.value)
    kept = load_rows(tmp_path, tokenizer, rows, "prompts.bad_golds=leave_out")
    assert len(kept.train) + len(kept.validation) == 3
    assert "rows.jsonl:4" in kept.warnings[0]
    assert "left out" in kept.warnings[0]


EARNED = [
    *(14, 14.0, -3, True, "14", "$14$", "1,234", "$1,234", r"\$18.90", "14 apples", "25%", "3:2", "10:30 a.m."),
    *(r"\frac{3}{4}", "x^2 + 1", "x = 14", "[0, 1)", "(1, 2)", ["1", "2"], [1.0, None, 2.0], "$14$ and $15$", "2, -2"),
    *(r"\begin{pmatrix}\n 1 \\\\\n 2\n\end{pmatrix}", r"\int_0^1 f(x)\,dx", "Evelyn", "east", "(B)", "No solution."),
    *("None of the above", "the set of all primes", r"\text{None}", "#### 14", r"\boxed{14}"),
]


@pytest.mark.parametrize("answer", EARNED, ids=repr)
def test_a_gold_that_can_be_earned_is_trained_on(answer: Any, tmp_path: Path, tokenizer: Any) -> None:
    loaded = load_rows(tmp_path, tokenizer, [*GOOD, row("How many apples?", answer)])
    assert len(loaded.train) + len(loaded.validation) == 4
    assert loaded.warnings == ()


def test_the_answers_of_gsm8k_are_read_by_their_rule(tmp_path: Path, tokenizer: Any) -> None:
    answers = ["14", "1,234", "$5.50", "-3", "0.5", "70,000."]
    rows = [row(f"Question {number}?", GSM8K.format(answer)) for number, answer in enumerate(answers)]
    loaded = load_rows(tmp_path, tokenizer, rows, "prompts.rows.gold_rule=gsm8k")
    golds = {item.problem.question: item.problem.gold for item in (*loaded.train, *loaded.validation)}
    for number, value in enumerate(("14", "1234", "5.5", "-3", "1/2", "70000")):
        gold = golds[f"Question {number}?"]
        assert grade(rf"\boxed{{{value}}}", gold).status is Status.CORRECT
        assert grade(r"\boxed{7}", gold).status is Status.WRONG
    with pytest.raises(UserError, match=r"rows.jsonl:1: gold '14' has no '####'"):
        load_rows(tmp_path, tokenizer, [row("How many?", "14")], "prompts.rows.gold_rule=gsm8k")


def test_the_golds_of_real_benchmarks_can_all_be_earned(real_data: Path) -> None:
    for name in ("aime24", "aime25", "amc23", "math500", "minerva_math", "olympiadbench"):
        assert unearnable_golds(p.gold for p in load_problems(load_task(name), data_dir=real_data)) == {}


def test_equal_questions_have_one_gold_however_it_is_spelt(tmp_path: Path, tokenizer: Any) -> None:
    same = [row("What is  1/2?", "0.5"), row("What is 1/2?", r"\frac12"), row("What is 1/2?", 0.5)]
    loaded = load_rows(tmp_path, tokenizer, [*GOOD, *same])
    assert len(loaded.train) + len(loaded.validation) == 4
    rows = [*GOOD, *same, row("What is 1/2?", "2")]
    with pytest.raises(
        UserError, match=r"rows.jsonl:7: the gold is '2'; for the same question at rows.jsonl:4 the gold is '0.5'"
    ):
        load_rows(tmp_path, tokenizer, rows)
    kept = load_rows(tmp_path, tokenizer, rows, "prompts.bad_golds=leave_out")
    assert len(kept.train) + len(kept.validation) == 3


def test_a_prefix_that_is_not_there_and_more_prompts_than_rows_are_warned_about(tmp_path: Path, tokenizer: Any) -> None:
    write_rows(tmp_path, GOOD)
    recipe = tiny(*ROWS, f"prompts.data_dir={tmp_path}", "prompts.rows.question_prefix=Solve this: ", *FEW)
    prefix, number = load_prompts(recipe, tokenizer, CONTEXT).warnings
    assert "prompts.rows.question_prefix is that of 0 of 3 questions" in prefix
    assert "rows.jsonl:1: 'Solve: What is 0 + 0?'" in prefix
    assert "prompts.num_prompts is 400, but rows has 3 distinct questions" in number


def test_too_few_prompts_for_a_step_are_refused_with_the_recipe() -> None:
    assert tiny("prompts.num_prompts=72").prompts.num_prompts == 72
    with pytest.raises(UserError, match="num_prompts is 71; leaves 31 prompts for training"):
        tiny("prompts.num_prompts=71")


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
