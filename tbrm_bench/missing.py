"""What is missing in other people's data: null, and the NaN that pandas puts where a table has no value.

    {"context": NaN, "answer": ["2", null]}    json.dumps of a pandas row    -> no context, the answer "2"
    {"answer": "None"}                         str() of a missing value      -> refused: is it the answer?

The text of a missing value is never taken for one, because it may be meant, nor for an answer, because it hardly is.
"""

import re
from decimal import Decimal
from typing import Any

# What str() makes of None, float("nan"), pandas.NA and pandas.NaT, and what JSON and SQL call it.
_SPELT = re.compile(r"\s*(?:None|nan|NaN|<NA>|NaT|null|NULL)\s*")


def is_missing(value: Any) -> bool:
    """Return whether a value is None or a NaN."""
    return value is None or (isinstance(value, float | Decimal) and value != value)


def spells_missing(value: Any) -> bool:
    """Return whether a value is the text that a program writes for a missing one: `nan`, `None`, `<NA>`."""
    return isinstance(value, str) and _SPELT.fullmatch(value) is not None


def nan_to_none(value: Any) -> Any:
    """Return a value with None for every NaN, at any depth; positions in lists stay as they are."""
    if isinstance(value, dict):
        return {name: nan_to_none(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(inner) for inner in value]
    return None if is_missing(value) else value


def present(value: Any) -> Any:
    """Return a list without its missing members, None if none is left, and any other value as it is; NaN is None."""
    if not isinstance(value, list | tuple):
        return None if is_missing(value) else value
    return [inner for inner in value if not is_missing(inner)] or None
