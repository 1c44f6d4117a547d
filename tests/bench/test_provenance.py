"""Hashes of what decides a score: equal for equal values, and for nothing else."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.provenance import canonical_json, config_fingerprint, digest, hardware, versions

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_the_order_of_keys_and_a_way_through_json_change_nothing(value: Any) -> None:
    assert digest(reversed_keys(value)) == digest(value)
    assert digest(json.loads(canonical_json(value))) == digest(value)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what a value holds, each with the way to it; an empty list or table is a leaf."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner or not value:
        yield path, repr(value)
    for key, item in inner:
        yield from leaves(item, (*path, key))


@given(values, values)
def test_digests_are_equal_where_every_leaf_is_equal_and_of_one_type(one: Any, other: Any) -> None:
    for first, second in ((one, other), ([one], [other]), ({"a": one, "b": 1}, {"b": 1, "a": other}), (one, [one])):
        assert (digest(first) == digest(second)) == (sorted_leaves(first) == sorted_leaves(second))


def sorted_leaves(value: Any) -> list[str]:
    return sorted(map(repr, leaves(value)))


def test_values_that_python_calls_equal_and_json_does_not() -> None:
    assert len({digest(value) for value in (1, 1.0, True, "1", [1], None, "true", 0, False)}) == 9


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest(value)


def test_where_a_model_came_from_is_not_what_it_computes(tmp_path: Path) -> None:
    def fingerprint(**config: Any) -> str:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return config_fingerprint(tmp_path)

    base = fingerprint(hidden_size=8, rope_theta=1e4)
    assert fingerprint(rope_theta=1e4, hidden_size=8, _name_or_path="/home/me", transformers_version="9") == base
    assert fingerprint(hidden_size=8, rope_theta=1e6) != base


def test_a_config_with_an_infinite_limit_has_a_fingerprint(tmp_path: Path) -> None:
    """As of models with Mamba layers: "time_step_limit": [0.0, Infinity]."""
    found = set()
    for limit in ("Infinity", "-Infinity", "NaN", "1e9"):
        (tmp_path / "config.json").write_text(f'{{"time_step_limit": [0.0, {limit}]}}')
        found.add(config_fingerprint(tmp_path))
    assert len(found) == 4


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff"])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json") as caught:
        config_fingerprint(tmp_path)
    assert "\n" not in str(caught.value)


def test_versions_and_hardware_are_found_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from tbrm_bench.provenance import hardware, versions; versions(); hardware();"
        "print([name for name in ('torch', 'vllm', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert versions()["python"] == sys.version.split()[0]
    assert hardware()["cores"] >= 1
