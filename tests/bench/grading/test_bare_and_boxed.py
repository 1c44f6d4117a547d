r"""A text that is an answer and nothing else has the verdict that it has in a box: `\$18.90` as `\boxed{\$18.90}`."""

import json
from pathlib import Path

import pytest

from tbrm_bench.grading import grade_many
from tbrm_bench.grading.find.extract import extract
from tbrm_bench.records import Gold, Status
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_suite, load_task

FOLDER = Path(__file__).parents[2] / "golden"


def differing(pairs: list[tuple[str, Gold]]) -> list[str]:
    bare = list(grade_many(pairs))
    boxed = list(grade_many((rf"\boxed{{{answer}}}", gold) for answer, gold in pairs))
    return [
        f"{gold.answers} <- {answer}: {found.status}, in a box {other.status}"
        for (answer, gold), found, other in zip(pairs, bare, boxed, strict=True)
        if (found.status is Status.CORRECT) != (other.status is Status.CORRECT)
    ]


def golden_pairs() -> list[tuple[str, Gold]]:
    pairs: dict[tuple[str, Gold], None] = {}
    for path in sorted(FOLDER.glob("grading*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            gold = Gold(tuple(case["gold"]) if isinstance(case["gold"], list) else (case["gold"],))
            found = extract(case["prediction"], finish_reason=case.get("finish_reason", "stop"))
            # A backslash at its end would escape the brace of the box.
            if found.source == "boxed" and found.answer and not found.answer.endswith("\\"):
                pairs[found.answer, gold] = None
            pairs[", ".join(gold.answers), gold] = None
    return list(pairs)


def test_every_eighth_golden_answer_and_gold() -> None:
    assert differing(golden_pairs()[::8]) == []


@pytest.mark.slow
def test_every_golden_answer_and_gold() -> None:
    assert differing(golden_pairs()) == []


@pytest.mark.parametrize("task", load_suite("tbrm6").tasks)
def test_every_gold_of_a_task(task: str, real_data: Path) -> None:
    golds = {problem.gold for problem in load_problems(load_task(task), data_dir=real_data)}
    pairs = [(", ".join(gold.answers), gold) for gold in golds]
    assert differing(pairs) == []
    assert all(found.status is Status.CORRECT for found in grade_many(pairs))
