"""A scorer of the caller's own in the worker: its score, its limits, its failures, each typed."""

from collections.abc import Iterator
from typing import Any

import pytest

from tbrm_bench.grading.equal.equivalence import Answer
from tbrm_bench.grading.workers.process import WorkerProcess


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    found = WorkerProcess(time_limit_s=0.5, memory_limit_mb=1024)
    yield found
    found.kill()


def ask(worker: WorkerProcess, scorer: str, given: Any) -> Answer:
    return worker.ask({"op": "score", "scorer": scorer, "given": given})


def test_only_the_best_score_is_right_and_the_score_is_told(worker: WorkerProcess) -> None:
    assert ask(worker, "math:sqrt", 1) == Answer(True, "scorer", {"score": 1.0})
    assert ask(worker, "math:sqrt", 0.25) == Answer(False, "scorer", {"score": 0.5})


@pytest.mark.parametrize(
    ("scorer", "given", "rule"),
    [
        ("math:sqrt", 4, "exception:ValueError"),  # 2 is no score
        ("math:fsum", ["nan"], "exception:TypeError"),
        ("builtins:float", "nan", "exception:ValueError"),
        ("math:cube", 1, "exception:AttributeError"),
        ("no_such_module_here:score", 1, "exception:ModuleNotFoundError"),
        ("builtins:eval", "sum(0 for _ in iter(int, 1))", "time_limit"),
        ("builtins:bytes", 1 << 32, "memory_limit"),
    ],
)
def test_what_a_scorer_does_to_its_process_costs_its_verdict(
    scorer: str, given: Any, rule: str, worker: WorkerProcess
) -> None:
    assert ask(worker, scorer, given)[:2] == (None, rule)
    assert ask(worker, "math:sqrt", 1).verdict is True
