"""Alternatives and policies: any one list is enough, and a switch means the same whichever way it comes in."""

import json
from dataclasses import asdict, fields, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.grading import GRADER, Gold, GraderPool, GradingPolicy, explain, grade, grade_many
from tbrm_bench.grading.grader_names import grader_name, is_strict_boxed, policy_of, stored_name
from tbrm_bench.grading.selftest import self_test, surface_forms
from tbrm_bench.records import Grade, Problem, ProblemKey, Status
from tbrm_bench.store.schema import problem_row, to_problem
from tbrm_bench.tasks.golds import gold_digest
from tbrm_bench.tasks.problems import golds_hash, rows_hash

CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[3] / "golden" / "alternatives.jsonl").read_text().splitlines()
]
SWITCHES = [field.name for field in fields(GradingPolicy)]
POLICIES = [GradingPolicy(*values) for values in product((False, True), repeat=len(SWITCHES))]
# Decided by the fast rules, by a worker, by SymPy, by words; some equal to each other.
LISTS = [("1/2",), ("0.5",), ("3", "4"), ("3",), (r"2\sqrt3",), (r"\int_0^1 2x\,dx",), (r"\text{even}",), ("x<3",)]
ANSWERS = ["0.5", "4, 3", "3", r"\sqrt{12}", "1", r"\text{even}", "(-\\infty,3)", "17", r"\int_0^2 x\,dx"]
lists = st.lists(st.sampled_from(LISTS), min_size=1, max_size=4)


def listed(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def gold_of(case: dict[str, Any]) -> Gold:
    return Gold(listed(case["gold"]), alternatives=tuple(map(listed, case.get("alternatives", []))))


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_verdict(case: dict[str, Any]) -> None:
    gold, policy = gold_of(case), GradingPolicy(**case.get("policy", {}))
    found = grade(case["prediction"], gold, policy=policy)
    assert found.status == case["verdict"], f"{case['reason']}: {found}"
    assert list(grade_many([(case["prediction"], gold)], policy=policy)) == [found]
    told = explain(case["prediction"], gold, policy=policy)
    assert told.grade == found
    assert told.gold_form.count("; or ") == len(gold.alternatives)


def test_half_of_the_cases_are_negative() -> None:
    assert 2 * sum(case["verdict"] != "correct" for case in CASES) >= len(CASES)
    assert len({case["id"] for case in CASES}) == len(CASES)


@given(lists, st.sampled_from(ANSWERS))
def test_an_answer_is_right_if_one_of_the_lists_accepts_it(golds: list[tuple[str, ...]], answer: str) -> None:
    first, *others = golds
    text = rf"\boxed{{{answer}}}"
    found = grade(text, Gold(first, alternatives=tuple(others)))
    assert found.status in (Status.CORRECT, Status.WRONG)
    assert (found.status is Status.CORRECT) == any(grade(text, Gold(one)).status is Status.CORRECT for one in golds)


@given(st.lists(st.sampled_from(LISTS), min_size=2, max_size=3, unique=True), st.sampled_from(ANSWERS))
def test_the_order_of_the_lists_does_not_matter(golds: list[tuple[str, ...]], answer: str) -> None:
    orders = (Gold(first, alternatives=tuple(others)) for first, *others in permutations(golds))
    assert len({grade(rf"\boxed{{{answer}}}", gold).status for gold in orders}) == 1


def test_alternatives_are_no_list_and_a_list_is_no_choice() -> None:
    either, both = Gold(("3",), alternatives=(("5",),)), Gold(("3", "5"))
    for answer, verdicts in (
        ("3", (True, False)),
        ("5", (True, False)),
        ("3, 5", (False, True)),
        ("8", (False, False)),
    ):
        found = tuple(grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT for gold in (either, both))
        assert found == verdicts, answer
    assert grade(r"\boxed{3 \text{ or } 5}", either).status is Status.WRONG


def test_the_forms_of_every_alternative_pass() -> None:
    gold = Gold((r"\frac12",), alternatives=(("3", "4"), (r"2\sqrt3",)))
    assert set(surface_forms(gold)) == {form for one in gold.each() for form in surface_forms(one)}
    assert self_test([gold]) == []


def test_what_has_no_alternatives_is_stored_and_hashed_as_before() -> None:
    problem = Problem(ProblemKey("t", "1"), "q", Gold(("1", "2"), "auto", 0.1, 0.2, "cm"), "c")
    assert rows_hash([problem]) == "623fce8bde81a2e0d074022d8aa8d960005a4e2e2e7e3503b8cfb7329ffccc5f"
    assert golds_hash([problem]) == "51193fc77d5f4adf7a7504a445488fb4a78189083e011cc0fcfdffb0a16069eb"
    assert gold_digest("t", "1", ["1", "2"]) == "dc9f065f"
    assert "alternatives" not in problem_row(problem, 0)[3].decode()


@given(lists)
def test_alternatives_are_stored_and_tell_hashes_apart(golds: list[tuple[str, ...]]) -> None:
    gold = Gold(golds[0], alternatives=tuple(golds[1:]))
    problem = Problem(ProblemKey("t", "1"), "q", gold, "c")
    task, problem_id, _, *texts = problem_row(problem, 0)
    assert to_problem(task, problem_id, *(text.decode() for text in texts)) == problem
    plain = replace(problem, gold=Gold(golds[0]))
    assert (rows_hash([problem]) == rows_hash([plain])) == (len(golds) == 1)
    assert (gold_digest("t", "1", golds[0], golds[1:]) == gold_digest("t", "1", golds[0])) == (len(golds) == 1)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: "".join(str(int(on)) for on in asdict(policy).values()))
@pytest.mark.parametrize("strict", [False, True])
def test_a_grader_s_name_says_its_policy(policy: GradingPolicy, strict: bool) -> None:
    name = grader_name(strict_boxed=strict, policy=policy)
    assert (policy_of(name), is_strict_boxed(name)) == (policy, strict)
    assert stored_name({"strict_boxed": strict, "policy": asdict(policy)}) == name
    assert (name == GRADER) == (policy == GradingPolicy() and not strict)


def test_no_two_policies_have_one_name_and_old_names_are_read() -> None:
    assert len({grader_name(strict_boxed=False, policy=policy) for policy in POLICIES}) == len(POLICIES)
    assert (policy_of("tbrm-1+strict_boxed"), is_strict_boxed("tbrm-1+strict_boxed")) == (GradingPolicy(), True)
    with pytest.raises(UserError, match="no_missing_sign"):
        policy_of(f"{GRADER}+no_missing_sign")


def test_one_pool_keeps_the_verdicts_of_policies_apart() -> None:
    gold, strict = Gold((r"12 \text{ cm}",)), GradingPolicy(missing_unit=False)
    with GraderPool(policy=strict) as pool:
        for _ in range(2):
            found = [pool.verdict(r"\boxed{12}", gold, policy=policy) for policy in (None, strict, GradingPolicy())]
            assert [one.status for one in found if isinstance(one, Grade)] == [
                Status.WRONG,
                Status.WRONG,
                Status.CORRECT,
            ]
