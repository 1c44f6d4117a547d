"""TOML, `key=value` words and JSON, read strictly into frozen dataclasses whose fields hold types and ranges.

    [optimizer]                    @dataclass(frozen=True)
    steps = 300                    class Optimizer:
    lr = 1e-5                          steps: Annotated[int, Ge(1)]
                                       learning_rate: Annotated[float, Ge(0), Lt(1)] = 1e-5

    -> UserError: my.toml: [optimizer] has no key 'lr'; did you mean 'learning_rate'?

Every key must be a field and every field without a default must be there, with its own type: no coercion, except that
an integer may stand for a float. Integers have 64 bits, as TOML's; text is what UTF-8 can hold. A field with a range
holds a finite number; NaN fails every range. Of two words with one key the last counts. What keys owe each other is a
rule of whoever reads them. (pydantic's strict mode takes no dict for a dataclass and no list for a tuple unless both
come as JSON, which has neither dates nor NaN; it adds 0.1 s, and each of its messages would be rewritten.)
"""

import json
import operator
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen

from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean, likeness, nearest

T = TypeVar("T")
MAX_CHARS = 2**22  # of a TOML file; a device never ends
Seed = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Text = Annotated[str, MinLen(1)]


@dataclass(frozen=True, slots=True)
class Spelt:
    """Marks a field that takes several spellings of one value; `to_name` returns the one that is kept."""

    to_name: Callable[[str], str]


class Place(typing.NamedTuple):
    """Where a table is, for error messages; `fix` ends those of a file that no person has written."""

    file: str
    key: str = ""
    fix: str = ""
    root: type | None = None  # of all tables of the file: a key may belong to another one

    def child(self, name: object) -> "Place":
        text = str(name) if _PLAIN_KEY.fullmatch(str(name)) else shown(name)
        return self._replace(key=f"{self.key}.{text}" if self.key else text)

    def table_error(self, text: str) -> UserError:
        return UserError(f"{self.file}{f': [{self.key}]' if self.key else ''} {text}")

    def value_error(self, text: str) -> UserError:
        """Options of a command line are followed by their key as they are typed."""
        gap = " " if self.file.startswith("--") else ": " if self.key else ""
        return UserError(f"{self.file}{gap}{self.key}{text}{f'; {self.fix}' if self.fix else ''}")


def load_toml(path: Path, cls: type[T], *, overrides: Iterable[str] = (), **given: Any) -> T:
    """Return the file as a `cls`; `given` sets fields that are not the file's to set, such as its name.

    `overrides` are words `key=value` or `table.key=value` that replace the file's values; a value is read as TOML, and
    as a plain string where it is not TOML. Raises UserError for a file that cannot be read, an unknown or missing key
    and a value of another type or out of its range.
    """
    return from_table(read_toml(path, overrides=overrides), cls, place=str(path), **given)


def from_words(words: Iterable[str], cls: type[T], *, place: str) -> T:
    """Return `cls` with the fields set that words `key=value` name; `place` is the option that they were given to."""
    table: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise UserError(f"{place} {word!r} is not key=value; keys: {', '.join(_hints(cls))}")
        set_value(table, word)
    return from_table(table, cls, place=place)


def from_table(table: Mapping[str, Any], cls: type[T], *, place: str | Place, **given: Any) -> T:
    """Return a table that was read or made elsewhere as a `cls`; `place` is its name in errors."""
    place = Place(place) if isinstance(place, str) else place
    return _build(table, cls, place if place.root else place._replace(root=cls), given)


def read_toml(path: Path, *, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the file's table with the overrides in it, not checked further; raises UserError if it is not TOML."""
    try:
        with path.open(encoding="utf-8-sig") as stream:  # some editors begin a file with a mark
            if len(text := stream.read(MAX_CHARS + 1)) > MAX_CHARS:
                raise UserError(f"{path} has more than {MAX_CHARS} characters; give a file of settings")
            table = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    for word in overrides:
        set_value(table, word)
    return table


def set_value(table: dict[str, Any], word: str) -> None:
    """Put the value of a word `table.key=value` into the table; raises UserError if the word has another form."""
    name, separator, text = word.partition("=")
    if not separator or not name:
        raise UserError(f"{word!r} is not key=value")
    *parents, key = name.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"{word!r}: {parent!r} is a value, not a table")
    table[key] = _value(text)


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, shortened, and as TOML and JSON spell it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits or deeper than Python prints
        return f"{_TYPE_NAMES.get(type(value), 'a value')} that is too large to print"
    return text if len(text) <= 80 else f"{text[:77]}..."


class _Word(str):
    """The text after `key=`, which is what a field of text takes; `value` is what other fields take."""

    value: Any


def _value(text: str) -> Any:
    """Return a text as TOML reads it; a _Word where it is a number or the like, or is not TOML."""
    try:
        # In a table of one line: what would end it, a comment or a second key, must not get lost.
        table = tomllib.loads(f"it = {{value = {text}}}")
        value = table["it"]["value"] if len(table) == 1 and len(table["it"]) == 1 else text
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, str | list | dict) and value is not text:
        return value
    word = _Word(text)
    word.value = value
    return word


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.value if isinstance(value, _Word) else value


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _build(table: Mapping[str, Any], cls: type[T], place: Place, given: Mapping[str, Any]) -> T:
    known = {field.name: field for field in fields(cls) if field.name not in given}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise place.table_error(f"has no key {shown(key)}; {place.fix or _nearest_key(key, list(known), place)}")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise place.table_error(f"lacks the key {name!r}; {place.fix or 'add it'}")
    hints = _hints(cls)
    values = {name: convert(value, hints[name], place.child(name)) for name, value in table.items()}
    return cls(**values, **given)


def convert(value: Any, hint: Any, place: Place) -> Any:
    """Return a value as the type that `hint` is, any of those that fields may have; raises UserError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _annotated(value, arguments[0], arguments[1:], place)
    if origin in (types.UnionType, typing.Union):
        (part,) = (part for part in arguments if part is not types.NoneType)
        return None if value is None or (value == "none" and isinstance(value, _Word)) else convert(value, part, place)
    if hint is Any:
        return _plain(value)
    if isinstance(value, _Word):
        value = str(value) if hint is str else value.value
    if origin is typing.Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            near = did_you_mean(value, arguments) if isinstance(value, str) else ""
            text = f": {shown(value)} is not one of {', '.join(map(str, arguments))}"
            raise place.value_error(f"{text}; {near}" if near.startswith("did") else text)
        return value
    if origin is tuple:
        return _tuple(value, arguments, place)
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), value, "a table", place)
        return {
            _key(key, arguments[0], place): convert(it, arguments[1], place.child(key)) for key, it in value.items()
        }
    if is_dataclass(hint):
        _expect(isinstance(value, dict), value, "a table", place)
        return _build(value, typing.cast(type, hint), place, {})
    return _scalar(value, hint, place)


def _scalar(value: Any, hint: Any, place: Place) -> Any:
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise place.value_error(f": {shown(value)} is beyond the range of numbers") from None
    advice = ""
    if hint is int and type(value) is float and value.is_integer():
        advice = f" as it is written; write {int(value)}"
    elif hint is str and type(value) in (int, float, bool):
        advice = f'; write "{shown(value)}", with its quotes'
    _expect(type(value) is hint, value, f"{_TYPE_NAMES[hint]}{advice}", place)
    if hint is int and not -(2**63) <= value < 2**63:
        raise place.value_error(f" is {shown(value)}; a whole number from -2**63 to 2**63 - 1 is needed")
    # A half of a surrogate pair, of JSON or of bytes on a command line.
    if hint is str and value.encode(errors="ignore").decode() != value:
        raise place.value_error(f": {shown(value)} is not text that UTF-8 can hold")
    return value


def _tuple(value: Any, arguments: tuple[Any, ...], place: Place) -> tuple[Any, ...]:
    _expect(isinstance(value, list | tuple), value, "an array", place)
    if arguments[-1] is ...:
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        raise place.value_error(f" is {shown(list(value))}; {len(arguments)} values are needed")
    return tuple(
        convert(item, hint, place.child(at)) for at, (item, hint) in enumerate(zip(value, arguments, strict=True))
    )


def _key(key: str, hint: Any, place: Place) -> Any:
    """Return a table's key as a whole number or as a member of an enumeration, which JSON and TOML write as text."""
    try:
        found = key if hint is str else hint(key)
    except ValueError:
        found = None
    if found is None or str(found) != key:
        known = list(hint) if issubclass(hint, Enum) else ["whole numbers"]
        raise place.table_error(f"has no key {shown(key)}; {place.fix or did_you_mean(key, known)}")
    return found


_PLAIN_KEY = re.compile(r"[\w.-]{1,80}")
_TYPE_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_RANGES: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "{} or more"),
    Gt: ("gt", operator.gt, "more than {}"),
    Le: ("le", operator.le, "at most {}"),
    Lt: ("lt", operator.lt, "below {}"),
}


def _annotated(value: Any, hint: Any, markers: tuple[Any, ...], place: Place) -> Any:
    for marker in markers:
        if isinstance(marker, Spelt) and isinstance(value, str):
            value = marker.to_name(value)
    found = convert(value, hint, place)
    if MinLen(1) in markers and not found:
        raise place.value_error(" is empty; give it a value")
    known = ((marker, *_RANGES[type(marker)]) for marker in markers if type(marker) in _RANGES)
    ranges = [(getattr(marker, name), holds, words) for marker, name, holds, words in known]
    # Written so that a NaN fails too.
    if ranges and not (all(holds(found, bound) for bound, holds, _ in ranges) and abs(found) < float("inf")):
        raise place.value_error(f" is {shown(found)}; {' and '.join(it[2].format(it[0]) for it in ranges)} is needed")
    return found


def _expect(holds: bool, value: Any, wanted: str, place: Place) -> None:
    if not holds:
        raise place.value_error(f": {shown(value)} is not {wanted}")


def _nearest_key(key: str, own: list[str], place: Place) -> str:
    """Name the nearest key of this table, or one of another table that is nearer."""
    prefix = f"{place.key}." if place.key else ""
    scored = [(repr(name), 0.1 + near) for name in own if (near := likeness(key, name))]
    for name in _dotted_names(place.root, ""):
        if not name.startswith(prefix) or "." in name.removeprefix(prefix):
            scored.append((name, likeness(key, name.rpartition(".")[2])))
    return nearest(scored, own)


def _dotted_names(cls: Any, prefix: str) -> Iterator[str]:
    for name, hint in _hints(cls).items():
        union = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        parts = [part for part in union if isinstance(part, type) and is_dataclass(part)]
        yield from _dotted_names(parts[0], f"{prefix}{name}.") if parts else [f"{prefix}{name}"]
