"""A scorer of the caller's own, run where it can be killed: the worker imports it by name and calls it.

    {"op": "score", "scorer": "tbrm_bench.grading.workers.gym_scorer:score", "given": {"answer": "up up", ...}}
    [true, "scorer", {"score": 1.0}]

The function takes `given` and returns a score in [0, 1]. Importing its module counts against no limit, calling it does;
what it raises is this verdict's `error`.
"""

import importlib
from collections.abc import Mapping
from typing import Any


def module_of(request: Mapping[str, Any]) -> str:
    """Return the module of a request's scorer."""
    return str(request["scorer"]).partition(":")[0]


def score(request: Mapping[str, Any]) -> tuple[bool, str, dict[str, float]]:
    """Return whether the scorer gives its best score, 1, and the score; raises ValueError if it is not in [0, 1]."""
    function = str(request["scorer"]).partition(":")[2]
    found = float(getattr(importlib.import_module(module_of(request)), function)(request["given"]))
    if not 0 <= found <= 1:
        raise ValueError(f"a score of {found}")
    return found == 1, "scorer", {"score": found}
