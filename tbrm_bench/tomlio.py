"""A TOML file, read strictly into a frozen dataclass.

    [hub]                          @dataclass(frozen=True)
    repo = "someone/rows"          class Hub:
    revison = "main"                   repo: str
                                       revision: str

    -> UserError: tasks/my.toml: [hub] has no key 'revison'; did you mean 'revision'?

Every key must be a field and every field without a default must be there, with its own type: no coercion, except that
an integer may stand for a float. (msgspec ignores unknown keys of dataclasses; pydantic would be one more package of
the base install and names no nearest key.)
"""

import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from tbrm_bench.errors import UserError

T = TypeVar("T")


def load_toml(path: Path, cls: type[T], *, overrides: Iterable[str] = (), **given: Any) -> T:
    """Return the file as a `cls`; `given` sets fields that are not the file's to set, such as its name.

    `overrides` are words `key=value` or `table.key=value` that replace the file's values; a value is read as TOML, and
    as a plain string where it is not TOML. Raises UserError for a file that cannot be read, an unknown or missing key
    and a value of another type.
    """
    return from_table(read_toml(path, overrides=overrides), cls, place=str(path), **given)


def from_table(table: Mapping[str, Any], cls: type[T], *, place: str, **given: Any) -> T:
    """Return a table that was read or made elsewhere as a `cls`; `place` is what errors call it."""
    return _build(table, cls, _Place(place, ""), given)


def read_toml(path: Path, *, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the file's table with the overrides in it, not checked further; raises UserError if it is no TOML."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    for word in overrides:
        set_value(table, word)
    return table


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the nearest known ones, else all of them."""
    likeness = {other: difflib.SequenceMatcher(None, name, other).ratio() for other in sorted(known)}
    best = max(likeness.values(), default=0.0)
    if best < 0.6:
        return f"there is: {', '.join(likeness) or 'nothing'}"
    nearest = [repr(other) for other, ratio in likeness.items() if ratio == best]
    return f"did you mean {' or '.join(nearest)}?"


def set_value(table: dict[str, Any], word: str) -> None:
    """Put the value of a word `table.key=value` into the table; raises UserError if the word is no such thing."""
    name, separator, text = word.partition("=")
    if not separator or not name:
        raise UserError(f"{word!r} is not key=value")
    try:
        value: Any = tomllib.loads(f"value = {text}")
        # A line break in the text must not smuggle in, and lose, a second key.
        value = value["value"] if len(value) == 1 else text
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *parents, key = name.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"{word!r}: {parent!r} is a value, not a table")
    table[key] = value


class _Place(typing.NamedTuple):
    """Where in which file: for error messages."""

    file: str
    key: str

    def child(self, name: str) -> "_Place":
        return _Place(self.file, f"{self.key}.{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.file}: [{self.key}]" if self.key else f"{self.file}:"


def _build(table: Mapping[str, Any], cls: type[T], place: _Place, given: Mapping[str, Any]) -> T:
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.name not in given}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise UserError(f"{place} has no key {key!r}; {did_you_mean(key, known)}")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{place} lacks the key {name!r}; add it")
    values = {name: _convert(value, hints[name], place.child(name)) for name, value in table.items()}
    return cls(**values, **given)


def _convert(value: Any, hint: Any, place: _Place) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _convert(value, next(part for part in arguments if part is not type(None)), place)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{place} is {value!r}, not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        _expect(isinstance(value, list), value, "an array", place)
        return tuple(_convert(item, arguments[0], place.child(str(index))) for index, item in enumerate(value))
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), value, "a table", place)
        return {key: _convert(item, arguments[1], place.child(key)) for key, item in value.items()}
    if is_dataclass(hint):
        _expect(isinstance(value, dict), value, "a table", place)
        return _build(value, typing.cast(type, hint), place, {})
    if hint is float and type(value) is int:
        return float(value)
    _expect(type(value) is hint, value, _TYPE_NAMES.get(hint, str(hint)), place)
    return value


_TYPE_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def _expect(holds: bool, value: Any, wanted: str, place: _Place) -> None:
    if not holds:
        raise UserError(f"{place} is {value!r}, not {wanted}")
