"""The fingerprint of weights: blind to files and shards, and to nothing else."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tbrm_bench.errors import UserError
from tbrm_bench.weights import weights_fingerprint

TENSORS: dict[str, np.ndarray] = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.zeros(4, np.float16),
    "b": np.ones((2, 1, 2), np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def write(folder: Path, tensors: dict[str, np.ndarray], name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / name)
    return folder


def fingerprint(folder: Path, tensors: dict[str, np.ndarray]) -> str:
    return weights_fingerprint(write(folder, tensors))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(TENSORS)), st.integers(0, 2), min_size=len(TENSORS)))
def test_sharding_and_file_names_change_nothing(tmp_path: Path, shard_of: dict[str, int]) -> None:
    whole = fingerprint(tmp_path / "whole", TENSORS)
    folder = tmp_path / f"sharded-{len(list(tmp_path.iterdir()))}"
    for shard in set(shard_of.values()):
        part = {name: TENSORS[name] for name, number in shard_of.items() if number == shard}
        write(folder, part, f"shard-{9 - shard}.safetensors")
    assert weights_fingerprint(folder) == whole


def changed(name: str) -> dict[str, np.ndarray]:
    tensors = dict(TENSORS)
    if name == "one bit":
        values = tensors["a.weight"].copy()
        values.view(np.uint8).reshape(-1)[5] ^= 1
        tensors["a.weight"] = values
    elif name == "shape":
        tensors["a.weight"] = tensors["a.weight"].reshape(4, 3)
    elif name == "empty shape":
        tensors["empty"] = tensors["empty"].reshape(3, 0)
    elif name == "dtype":
        tensors["a.bias"] = tensors["a.bias"].view(np.int16)
    elif name == "name":
        tensors["c"] = tensors.pop("b")
    elif name == "swapped":
        tensors["a.weight"], tensors["x"] = np.zeros((3, 4), np.float32), tensors["a.weight"]
    elif name == "one less":
        del tensors["empty"]
    return tensors


@pytest.mark.parametrize("change", ["one bit", "shape", "empty shape", "dtype", "name", "swapped", "one less"])
def test_everything_else_changes_it(tmp_path: Path, change: str) -> None:
    assert fingerprint(tmp_path / "b", changed(change)) != fingerprint(tmp_path / "a", TENSORS)


def test_a_tensor_in_two_files_is_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, TENSORS, "one.safetensors")
    write(tmp_path, {"b": TENSORS["b"]}, "two.safetensors")
    with pytest.raises(UserError, match=r"tensor 'b' is in both one\.safetensors and two\.safetensors"):
        weights_fingerprint(tmp_path)


def test_a_shard_that_the_index_names_and_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, TENSORS, "model-00001-of-00002.safetensors")
    index = {"weight_map": {"b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"'c' is in model-00002-of-00002\.safetensors, but it is in no file"):
        weights_fingerprint(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 8, 20, -1])
def test_a_file_that_is_cut_short(tmp_path: Path, keep: int) -> None:
    file = write(tmp_path, TENSORS) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model\.safetensors.*again"):
        weights_fingerprint(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b'{"a": 3}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 9]}}',
        b'{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-8, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e999]}}',
        b'{"a": ' * 100_000,
    ],
)
def test_a_header_that_is_none(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match=r"model\.safetensors"):
        weights_fingerprint(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
entries = st.fixed_dictionaries({"dtype": json_values, "shape": json_values, "data_offsets": json_values})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    header=st.binary(max_size=30)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.text(max_size=2), entries | json_values).map(lambda value: json.dumps(value).encode()),
    length=st.none() | st.integers(0, 2**64 - 1),
    rest=st.binary(max_size=9),
)
def test_whatever_a_file_holds_it_is_a_fingerprint_or_one_line(
    tmp_path: Path, header: bytes, length: int | None, rest: bytes
) -> None:
    claimed = len(header) if length is None else length
    (tmp_path / "model.safetensors").write_bytes(claimed.to_bytes(8, "little") + header + rest)
    try:
        assert len(weights_fingerprint(tmp_path)) == 64
    except UserError as error:
        said = str(error)
        assert "model.safetensors" in said
        assert "\n" not in said


def test_metadata_and_the_order_in_a_file_change_nothing(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain", tmp_path / "other"
    write(plain, {"a": np.array([1, 2], np.float32), "b": np.array([3], np.float32)})
    values = np.array([3, 1, 2], np.float32).tobytes()
    header = json.dumps(
        {
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "__metadata__": {"format": "pt", "note": "written by another program"},
            "a": {"data_offsets": [4, 12], "shape": [2], "dtype": "F32"},
        },
        indent=4,
    ).encode()
    other.mkdir()
    (other / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    assert weights_fingerprint(other) == weights_fingerprint(plain)


def test_the_fingerprint_is_the_one_that_the_docstring_defines(tmp_path: Path) -> None:
    """Computed here from the arrays; a change of it would make every stored run another one."""
    names = {"float32": "F32", "float16": "F16", "int64": "I64"}
    digests = b""
    for name, array in sorted(TENSORS.items()):
        tensor = json.dumps([name, names[str(array.dtype)], list(array.shape)]).encode() + array.tobytes()
        digests += hashlib.sha256(tensor).digest()
    assert fingerprint(tmp_path / "model", TENSORS) == hashlib.sha256(digests).hexdigest()


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no weights"):
        weights_fingerprint(tmp_path)


def test_pickled_weights_are_hashed_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    first = weights_fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch hackee'\ntR.")
    assert weights_fingerprint(tmp_path) != first
    assert [file.name for file in tmp_path.iterdir()] == ["pytorch_model.bin"]
