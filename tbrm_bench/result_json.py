"""A RunResult as JSON, and back without loss: what results.json holds.

    {"schema": 1, "name": "tiny-quickstart-1a2b3c4d", "lock_hash": "...", "grader": "tbrm-2",
     "tasks": [{"task": "arithmetic", "avg": 0.5, "pass_at": {"1": 0.5, "2": 0.75}, "sampling_sd": null, ...}],
     "macro": {...}, "about": {...}, "proof": "..."}

The keys are the fields of the records; `proof` is left out where there is none. An undefined number (NaN) is null, and
null is NaN, everywhere but in `about`, which is kept as it is. Reading is strict: an unknown, missing or repeated key
or a value of another type is an error.
"""

import dataclasses
import difflib
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.provenance import digest
from tbrm_bench.records import MacroScore, RunResult, Status, TaskScore

SCHEMA = 1
NAN = float("nan")


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


def result_from_json(text: str) -> RunResult:
    """Return the result that `result_to_json` wrote; raises UserError with the first thing that is wrong."""
    try:
        data = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"the results are not JSON: {error}; run `tbench grade` on the run to write them again"
        ) from error
    if not isinstance(data, dict):
        raise UserError(f"the results are a JSON {type(data).__name__}, not an object; run `tbench grade` on the run")
    if (schema := data.pop("schema", None)) != SCHEMA or isinstance(schema, bool):
        raise UserError(
            f"the results have schema {schema!r}, this version reads {SCHEMA}; run `tbench grade` on the run"
        )
    return _decode_result(data)


def _encode(value: Any) -> Any:
    """Records to objects, NaN to null; keys become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _decode_result(data: Any) -> RunResult:
    values = _fields({"proof": "", **data}, RunResult, "results")
    return RunResult(
        name=_text(values["name"], "name"),
        lock_hash=_text(values["lock_hash"], "lock_hash"),
        grader=_text(values["grader"], "grader"),
        tasks=tuple(
            TaskScore(**_scores(item, TaskScore, f"tasks[{index}]"))
            for index, item in enumerate(_of_type(values["tasks"], list, "tasks"))
        ),
        macro=MacroScore(**_scores(values["macro"], MacroScore, "macro")),
        about=_of_type(values["about"], dict, "about"),
        proof=_text(values["proof"], "proof"),
    )


def _scores(data: Any, record: type, where: str) -> dict[str, Any]:
    scores = {}
    for name, value in _fields(data, record, where).items():
        decode: Callable[[Any, str], Any] = _DECODERS.get(name, _number)
        scores[name] = decode(value, f"{where}.{name}")
    return scores


def _fields(data: Any, record: type, where: str) -> dict[str, Any]:
    """Check that the object has exactly the record's fields."""
    known = [field.name for field in dataclasses.fields(record)]
    values: dict[str, Any] = _of_type(data, dict, where)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise UserError(f"{where} has the unknown key {key!r}{f'; did you mean {near[0]!r}?' if near else ''}")
    if missing := [name for name in known if name not in values]:
        raise UserError(f"{where} lacks the key {missing[0]!r}; run `tbench grade` on the run to write it again")
    return values


def _of_type(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{where} is {value!r}, but a {kind.__name__} is expected")
    return value


def _text(value: Any, where: str) -> str:
    return str(_of_type(value, str, where))


def _count(value: Any, where: str) -> int:
    return int(_of_type(value, int, where))


def _number(value: Any, where: str) -> float:
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise UserError(f"{where} is {value!r}, but a number or null is expected")
    return float(value)


def _by_k(value: Any, where: str) -> dict[int, float]:
    values = _of_type(value, dict, where)
    if list(values) != [str(k) for k in range(1, len(values) + 1)]:
        raise UserError(f"the keys of {where} are {', '.join(values)}, but 1, 2, ... in order are expected")
    return {int(k): _number(item, f"{where}.{k}") for k, item in values.items()}


def _by_status(value: Any, where: str) -> dict[Status, float]:
    values = _of_type(value, dict, where)
    if set(values) != set(Status):
        raise UserError(f"the keys of {where} are {', '.join(values)}, but {', '.join(Status)} are expected")
    return {status: _number(values[status], f"{where}.{status}") for status in Status}


_DECODERS: Mapping[str, Callable[[Any, str], Any]] = {
    "task": _text,
    "num_problems": _count,
    "num_clusters": _count,
    "num_samples": _count,
    "num_missing": _count,
    "num_ungraded": _count,
    "max_tokens": _count,
    "pass_at": _by_k,
    "pass_at_se": _by_k,
    "status_rates": _by_status,
}


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        repeated = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return data


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; an undefined number is null")
