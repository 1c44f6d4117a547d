"""The side of reasoning-gym that judges: imported by a worker process that can be killed, and nowhere else.

    score({"problem": '{"dataset": "shortest_path", "options": {"seed": 1, "size": 8}, "index": 0,
                        "fingerprint": "0d4c..."}', "answer": "up up right up"})  ->  1.0

The problem is generated again from its dataset, options and index; if that gives another question than the one that was
asked (a generator that depends on the hash seed of a process), that is an error and no score.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

from reasoning_gym.factory import create_dataset

from tbrm_bench.grading.workers.scored import fingerprint

MAX_ENTRIES = 4096


def score(given: Mapping[str, Any]) -> float:
    """Return what the dataset's own scorer gives an answer, in [0, 1]; raises ValueError for another question.

    The answer None is the problem's own.
    """
    problem = json.loads(given["problem"])
    name, options = problem["dataset"], json.dumps(problem["options"])
    entry = _entry(name, options, problem["index"])
    if fingerprint(entry["question"]) != problem["fingerprint"]:
        raise ValueError("the generator made another question")
    answer = given["answer"] if given["answer"] is not None else entry["answer"]
    found = _dataset(name, options).score_answer(answer, entry)
    return min(1.0, max(0.0, float(found)))


@functools.lru_cache(maxsize=16)
def _dataset(name: str, options: str) -> Any:
    return create_dataset(name, **json.loads(options))


@functools.lru_cache(maxsize=MAX_ENTRIES)
def _entry(name: str, options: str, index: int) -> Any:
    return _dataset(name, options)[index]
