"""The generated arithmetic: golds and solutions against an evaluator of the tests' own, independence, pinned rows."""

import ast
import hashlib
import itertools
import json
import math
import operator
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.records import Problem
from tbrm_bench.tasks.generators.arithmetic import LEVELS, MAX_PROBLEMS, PHRASINGS, generate, training_pairs
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_task

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "arithmetic.txt"
OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
seeds = st.integers(min_value=0, max_value=2**63 - 1)


def value(expression: str) -> int:
    """Evaluate integers with +, -, * by Python's grammar; anything else is a KeyError or an AssertionError."""

    def walk(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](walk(node.left), walk(node.right))
        assert isinstance(node, ast.Constant), ast.dump(node)
        assert type(node.value) is int
        return node.value

    return walk(ast.parse(expression, mode="eval").body)


def expression_of(question: str) -> str:
    """Return what stands in the braces of the one phrasing that fits."""
    fits = []
    for phrasing in PHRASINGS:
        before, after = phrasing.split("{}")
        if question.startswith(before) and question.endswith(after):
            fits.append(question.removeprefix(before).removesuffix(after))
    assert len(fits) == 1, question
    return fits[0]


def level_of(problem: Problem) -> int:
    return int(problem.key.problem_id.removeprefix("L").partition("-")[0])


def training(seed: int, count: int) -> list[tuple[str, str]]:
    return list(itertools.islice(training_pairs(seed), count))


def digest(rows: object) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def as_rows(problems: list[Problem]) -> list[list[object]]:
    return [[p.key.problem_id, p.question, list(p.gold.answers), p.cluster] for p in problems]


@settings(max_examples=25, deadline=None)
@given(seed=seeds, num_problems=st.integers(1, 300))
def test_gold_is_the_value_of_the_question(seed: int, num_problems: int) -> None:
    problems = generate(num_problems=num_problems, seed=seed)
    assert len(problems) == len({problem.key for problem in problems}) == num_problems
    for problem in problems:
        found = value(expression_of(problem.question))
        assert problem.gold.answers == (str(found),)
        assert found >= 0


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_every_step_of_a_solution_is_a_chain_of_equal_values_and_the_last_one_is_boxed(seed: int) -> None:
    for question, solution in training(seed, 60):
        work, _, boxed = solution.partition(" \\boxed{")
        chains = [step.split(" = ") for step in work.removesuffix(".").split(". ")]
        for chain in chains:
            assert len(chain) >= 2
            assert len({value(part) for part in chain}) == 1, chain
            assert chain[-1] == str(value(chain[-1])), "a step ends in a number"
        assert boxed == f"{chains[-1][-1]}}}"
        assert value(expression_of(question)) == value(chains[-1][-1])
        # The first step starts from the question, the last one uses what the one before found.
        assert chains[0][0] in question
        assert all(before[-1] in after[0].split() for before, after in itertools.pairwise(chains))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=st.floats(0, 1))
def test_a_share_of_the_solutions_is_the_boxed_value_alone(seed: int, share: float) -> None:
    worked = training(seed, 400)
    mixed = list(itertools.islice(training_pairs(seed, direct_share=share), 400))
    num_direct = 0
    for (question, solution), (same_question, answer) in zip(worked, mixed, strict=True):
        assert question == same_question
        direct = answer != solution
        num_direct += direct
        assert answer == (f"\\boxed{{{value(expression_of(question))}}}" if direct else solution)
    # Six standard deviations of a binomial count.
    assert abs(num_direct - 400 * share) <= 6 * math.sqrt(400 * share * (1 - share)) + 1e-3


def test_same_arguments_same_rows_in_another_process() -> None:
    code = (
        "import itertools, json; from tbrm_bench.tasks.generators.arithmetic import generate, training_pairs\n"
        "rows = [[p.key.problem_id, p.question, list(p.gold.answers), p.cluster]"
        " for p in generate(num_problems=77, seed=11)]\n"
        "print(json.dumps([rows, list(itertools.islice(training_pairs(11), 77))]))"
    )
    command = [sys.executable, "-c", code]
    # Another hash seed: no set or dict order may decide.
    there = subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": "77"}).stdout
    here = [as_rows(generate(num_problems=77, seed=11)), training(11, 77)]
    assert json.loads(there) == json.loads(json.dumps(here))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, few=st.integers(1, 200), more=st.integers(0, 200))
def test_more_problems_add_rows_and_change_none(seed: int, few: int, more: int) -> None:
    shorter, longer = generate(num_problems=few, seed=seed), generate(num_problems=few + more, seed=seed)
    assert set(shorter) <= set(longer)
    counts = Counter(level_of(problem) for problem in longer)
    assert set(counts) <= set(LEVELS)
    assert max(counts.values()) - min(counts[level] for level in LEVELS) <= 1


def test_another_seed_asks_other_questions() -> None:
    questions = [{problem.question for problem in generate(num_problems=200, seed=seed)} for seed in (2025, 2026)]
    # Small levels must meet now and then, the seeds' rows as a whole may not.
    assert len(questions[0] & questions[1]) < 100
    assert training(0, 50) != training(1, 50)


def test_training_never_shows_a_test_expression() -> None:
    trained = {expression_of(question) for seed in range(8) for question, _ in training(seed, 2000)}
    tested = {expression_of(p.question) for seed in range(40) for p in generate(num_problems=200, seed=seed)}
    assert trained.isdisjoint(tested)
    # The law would hold of two languages that have nothing in common; these have: about one in four is held out.
    smallest = {f"{a} + {b}" for a in range(1, 31) for b in range(1, 31)}
    assert 0.15 < len(smallest & tested) / len(smallest & (tested | trained)) < 0.35


def test_clusters_are_the_expressions() -> None:
    for seed in range(30):
        problems = generate(num_problems=MAX_PROBLEMS, seed=seed)
        by_cluster: dict[str, list[Problem]] = defaultdict(list)
        for problem in problems:
            by_cluster[problem.cluster].append(problem)
        expressions = [{expression_of(problem.question) for problem in group} for group in by_cluster.values()]
        assert all(len(found) == 1 for found in expressions), "twins share their expression"
        assert len(set().union(*expressions)) == len(by_cluster), "no expression stands in two clusters"
        for group in by_cluster.values():
            assert len({problem.gold for problem in group}) == 1
            assert len({problem.question for problem in group}) == len(group) <= 2
        sizes = Counter(map(len, by_cluster.values()))
        assert abs(sizes[2] - sizes[1]) <= 2 * len(LEVELS), "every second expression is asked twice"


def test_both_phrasings_are_equally_common_alone_and_in_training() -> None:
    problems = generate(num_problems=MAX_PROBLEMS, seed=3)
    sizes = Counter(problem.cluster for problem in problems)
    alone = Counter(p.question.split()[0] for p in problems if sizes[p.cluster] == 1)
    assert abs(alone["What"] - alone["Compute"]) <= 2 * len(LEVELS)
    trained = Counter(question.split()[0] for question, _ in training(3, 4000))
    assert abs(trained["What"] / 4000 - 0.5) < 5 * 0.5 / 4000**0.5  # five standard errors


@pytest.mark.parametrize("num_problems", [0, -1, MAX_PROBLEMS + 1])
def test_a_number_out_of_range_is_refused(num_problems: int) -> None:
    with pytest.raises(ValueError, match=rf"{num_problems}.*{MAX_PROBLEMS}"):
        generate(num_problems=num_problems, seed=0)


def test_the_bound_is_within_reach_and_levels_are_equal_there() -> None:
    for seed in (0, 2025, 2**63 - 1):
        counts = Counter(level_of(problem) for problem in generate(num_problems=MAX_PROBLEMS, seed=seed))
        assert counts == dict.fromkeys(LEVELS, MAX_PROBLEMS // len(LEVELS))


def test_the_rows_of_the_task_and_what_the_bundled_model_learnt_from_never_change() -> None:
    pinned = dict(line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#"))
    problems = load_problems(load_task("arithmetic"))
    assert Counter(map(level_of, problems)) == dict.fromkeys(LEVELS, 40)
    assert {"task": digest(as_rows(problems)), "training": digest(training(0, 5000))} == pinned
