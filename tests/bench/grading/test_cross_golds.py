"""Every gold of a benchmark put to every other problem of it: wrong, unless the two golds are the same answer.

`tests/golden/cross_golds.txt` lists the pairs that are accepted (task, id answered, id asked, rule), each looked
at: the same value in another spelling, x = 5 for 5, 36 degrees for 36, a value within the task's tolerance.
"""

import itertools
from pathlib import Path

import pytest

from tbrm_bench.grading import GraderPool
from tbrm_bench.records import SampleKey, Status
from tbrm_bench.tasks.problems import load_problems
from tbrm_bench.tasks.spec import load_suite, load_task

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "cross_golds.txt"
SLOW = {"olympiadbench"}
TASKS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in load_suite("tbrm6").tasks]


def accepted(task: str, data: Path) -> list[str]:
    problems = load_problems(load_task(task), data_dir=data)
    pairs = [(a, b) for a, b in itertools.permutations(problems, 2) if a.gold.answers != b.gold.answers]
    found = []
    with GraderPool() as pool:
        for start in range(0, len(pairs), 20_000):
            for number, (a, b) in enumerate(pairs[start : start + 20_000], start):
                pool.submit(SampleKey(task, "", number), rf"\boxed{{{', '.join(a.gold.answers)}}}", b.gold, "stop")
            for key, grade in pool.drain(wait=True):
                if grade.status is not Status.WRONG:
                    a, b = pairs[key.sample_index]
                    found.append(f"{task} {a.key.problem_id} {b.key.problem_id} {grade.status} {grade.rule}")
    return sorted(found)


@pytest.mark.parametrize("task", TASKS)
def test_a_gold_is_wrong_for_every_other_problem_unless_it_is_its_answer_too(task: str, real_data: Path) -> None:
    expected = [line for line in GOLDEN.read_text().splitlines() if line.startswith(f"{task} ")]
    assert accepted(task, real_data) == expected
