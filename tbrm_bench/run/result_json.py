"""A RunResult as JSON, and back without loss: what results.json holds.

    {"schema": 1, "name": "tiny-quickstart-1a2b3c4d", "lock_hash": "...", "grader": "tbrm-3",
     "tasks": [{"task": "arithmetic", "avg": 0.5, "pass_at": {"1": 0.5, "2": 0.75}, "sampling_sd": null, ...}],
     "macro": {...}, "about": {...}, "proof": "..."}

The keys are the fields of the records; `proof` is left out where there is none. An undefined number (NaN) is null, and
null is NaN, everywhere but in `about`, which is kept as it is. Reading is strict: an unknown, missing or repeated key
or a value of another type is an error.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tbrm_bench.config import Place, from_table
from tbrm_bench.errors import UserError
from tbrm_bench.provenance import digest
from tbrm_bench.records import RunResult, Status
from tbrm_bench.strict_json import parse_json

SCHEMA = 1
NAN = float("nan")
FIX = "run `tbench grade` on the run to write them again"


def result_to_json(result: RunResult) -> str:
    """Return the result as indented JSON that ends in a newline; ValueError if `about` is not JSON data."""
    return json.dumps(result_data(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_data(result: RunResult) -> dict[str, Any]:
    """Return the result as data for JSON."""
    data: dict[str, Any] = {"schema": SCHEMA}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        data[field.name] = value if field.name == "about" else _encode(value)
    if not result.proof:
        del data["proof"]
    return data


def proof_of(result: RunResult, evidence: str) -> str:
    """Return the digest that ties the scores to `evidence`, a digest of the verdicts that they were computed from."""
    scores = {name: _encode(getattr(result, name)) for name in ("lock_hash", "grader", "tasks", "macro")}
    return digest({"evidence": evidence, **scores})


def result_from_json(text: str, *, place: str = "results.json") -> RunResult:
    """Return the result that `result_to_json` wrote; raises UserError with the first thing that is wrong."""
    data = parse_json(text, place=place, fix=FIX, schema=SCHEMA)
    scores = {name: _nan_for_null(data[name]) for name in ("tasks", "macro") if name in data}
    if "about" not in data:
        raise UserError(f"{place} lacks the key 'about'; {FIX}")
    result = from_table({**data, **scores}, RunResult, place=Place(place, fix=FIX))
    for index, score in enumerate(result.tasks):
        _check_keys(f"{place}: tasks.{index}.pass_at", score.pass_at, range(1, len(score.pass_at) + 1))
        _check_keys(f"{place}: tasks.{index}.pass_at_se", score.pass_at_se, range(1, len(score.pass_at_se) + 1))
        _check_keys(f"{place}: tasks.{index}.status_rates", sorted(score.status_rates), sorted(Status))
    _check_keys(f"{place}: macro.pass_at", result.macro.pass_at, range(1, len(result.macro.pass_at) + 1))
    return result


def _encode(value: Any) -> Any:
    """Records to objects, NaN to null; keys become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _nan_for_null(value: Any) -> Any:
    """Return the data with NaN instead of null."""
    if isinstance(value, dict):
        return {key: _nan_for_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_for_null(item) for item in value]
    return NAN if value is None else value


def _check_keys(where: str, found: Iterable[Any], wanted: Iterable[Any]) -> None:
    if list(found) != (keys := list(wanted)):
        raise UserError(
            f"{where} has the keys {', '.join(map(str, found))}, but {', '.join(map(str, keys))} are expected; {FIX}"
        )
