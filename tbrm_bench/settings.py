"""`key=value` words on a command line, onto a frozen dataclass with the types that it declares.

parse_settings(Settings, ["dtype=bfloat16", "seed=7"])  ->  Settings(dtype="bfloat16", seed=7)
"""

import types
import typing
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from tbrm_bench.errors import UserError
from tbrm_bench.tomlio import did_you_mean

T = TypeVar("T")


def parse_settings(cls: type[T], words: Iterable[str]) -> T:
    """Return `cls` with the named fields set; raises UserError for an unknown key or a value of another type."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator:
            raise UserError(f"--set {word!r} is not key=value; keys: {', '.join(names)}")
        if key not in hints:
            raise UserError(f"--set has no key {key!r}; {did_you_mean(key, names)}")
        values[key] = _convert(key, text, hints[key])
    return cls(**values)


def _convert(key: str, text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        if text == "none":
            return None
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return _choice(key, text, dict(zip(typing.get_args(hint), typing.get_args(hint), strict=True)))
    if hint is bool:
        return _choice(key, text, {"true": True, "false": False})
    try:
        return hint(text)
    except ValueError:
        raise UserError(f"--set {key}={text}: {text!r} is not of type {hint.__name__}") from None


def _choice(key: str, text: str, choices: dict[str, Any]) -> Any:
    if text not in choices:
        raise UserError(f"--set {key}={text}: {text!r} is not one of {', '.join(choices)}")
    return choices[text]
