"""JSON that was stored, read strictly: no NaN, no key twice, and the schema that this version knows.

parse_json('{"schema": 2}', place="run.json", fix="restore it", schema=1)
-> UserError: run.json has schema 2, this version reads 1; use the version that wrote it
"""

import json
from typing import Any

from tbrm_bench.config import shown
from tbrm_bench.errors import UserError


def parse_json(text: str | bytes, *, place: str, fix: str, schema: int | None = None) -> Any:
    """Return JSON data; raises UserError for anything else, NaN and a repeated key included.

    With a `schema` the data must be an object with that number under "schema", which is taken out.
    """
    try:
        # Of bytes the parser would guess the encoding, and take halves of surrogate pairs.
        text = text.decode() if isinstance(text, bytes) else text
        data = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read as JSON: {error}; {fix}") from error
    return data if schema is None else checked_schema(data, schema, place=place, fix=fix)


def checked_schema(data: Any, schema: int, *, place: str, fix: str) -> dict[str, Any]:
    """Return a JSON object without its schema; raises UserError if it has another one, or is not an object."""
    if not isinstance(data, dict):
        raise UserError(f"{place} cannot be read: it is {shown(data)} and not a JSON object; {fix}")
    found = data.get("schema")
    if type(found) is not int or found != schema:
        raise UserError(f"{place} has schema {shown(found)}, this version reads {schema}; {fix}")
    return {key: value for key, value in data.items() if key != "schema"}


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, as a hook of the parser; raises ValueError for a key that stands in it twice."""
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is in one object twice")
    return data


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; an undefined number is null")


def _finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise ValueError(f"{text} is beyond the range of numbers")
    return number
