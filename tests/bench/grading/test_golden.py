"""The truth set: every case of tests/golden/grading*.jsonl has the verdict that a mathematician gives it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.grading import GraderPool, grade
from tbrm_bench.records import Gold, SampleKey

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for path in sorted((Path(__file__).parents[2] / "golden").glob("grading*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]


def gold_of(case: dict[str, Any]) -> Gold:
    """Return the gold of a case: one answer, or a list of answers in any order."""
    gold = case["gold"]
    return Gold(answers=tuple(gold) if isinstance(gold, list) else (gold,))


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_verdict(case: dict[str, Any]) -> None:
    found = grade(
        case["prediction"],
        gold_of(case),
        finish_reason=case.get("finish_reason", "stop"),
        strict_boxed=case.get("strict_boxed", False),
    )
    assert found.status == case["verdict"], f"{case['reason']}: {found}"


def test_a_third_of_the_cases_is_negative_and_each_has_a_reason_of_its_own() -> None:
    negative = [case for case in CASES if case["verdict"] != "correct"]
    assert 3 * len(negative) >= len(CASES)
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert all(case["reason"].strip() for case in CASES)
    forms = [json.dumps({key: case[key] for key in case if key not in ("id", "reason", "category")}) for case in CASES]
    assert len(set(forms)) == len(forms)


def test_the_pool_gives_the_verdicts_of_grade() -> None:
    cases = [case for case in CASES if not case.get("strict_boxed")]
    with GraderPool() as pool:
        for index, case in enumerate(cases):
            key = SampleKey("golden", case["id"], index)
            pool.submit(key, case["prediction"], gold_of(case), case.get("finish_reason", "stop"))
        verdicts = dict(pool.drain(wait=True))
    assert len(verdicts) == len(cases)
    wrong = [key for key, found in verdicts.items() if found.status != cases[key.sample_index]["verdict"]]
    assert wrong == []


def test_a_different_answer_of_the_same_form_is_never_accepted() -> None:
    """Golds of one category against each other: accepted both ways or not at all, and only when equal."""
    golds = sorted({json.dumps(case["gold"]) for case in CASES if case["category"] in ("rational", "constant")})
    values = [json.loads(gold) for gold in golds]
    for left in values:
        for right in values:
            forward = grade(rf"\boxed{{{left}}}", right).status
            assert forward == grade(rf"\boxed{{{right}}}", left).status, (left, right)


def test_every_rule_that_decides_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "grading.md").read_text(encoding="utf-8")
    rules = {
        grade(
            case["prediction"],
            gold_of(case),
            finish_reason=case.get("finish_reason", "stop"),
            strict_boxed=case.get("strict_boxed", False),
        ).rule
        for case in CASES
    }
    assert len(rules) > 15
    assert {rule for rule in rules if f"`{rule}`" not in page} == set()
