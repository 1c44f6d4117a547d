"""What is written: numbers rounded as torch rounds them, files as safetensors defines them, and one fingerprint."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.merge.model.writer import parse_size, plan_shards, write_shards
from tbrm_bench.merge.pieces.lowrank import LowRank
from tbrm_bench.merge.pieces.stream import CHUNK_BYTES, OutputTensor, output_tensor, read_all
from tbrm_bench.merge.pieces.tiling import Parts, Piece, whole
from tbrm_bench.merge.source.byte_ranges import SourceFile, Storage
from tbrm_bench.merge.source.dtypes import BY_NAME, BY_TORCH, cast, check_numbers, parse_dtype, to_float
from tbrm_bench.merge.source.tensors import LazyTensor, contiguous_strides
from tbrm_bench.weights import combine_digests, read_header, weights_fingerprint

FLOATS = ["float64", "float32", "float16", "bfloat16"]
TARGETS = ["float32", "float16", "bfloat16"]
Array = np.ndarray[Any, np.dtype[Any]]


def as_torch(bits: Array, dtype: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(bits.tobytes()), dtype=getattr(torch, dtype))


def same_numbers(bits: Array, dtype: str, expected: torch.Tensor) -> bool:
    """Equal bits; where torch has a NaN any NaN will do."""
    found = as_torch(bits, dtype)
    kind = {2: torch.int16, 4: torch.int32}[found.element_size()]
    equal = found.view(kind) == expected.view(kind)
    return bool((equal | (found.isnan() & expected.isnan())).all())


@pytest.mark.parametrize("wanted", TARGETS)
@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_every_16_bit_number_is_cast_as_torch_casts_it(stored: str, wanted: str) -> None:
    bits = np.arange(1 << 16, dtype="<u2")
    numbers = as_torch(bits, stored)
    bits, numbers = bits[~numbers.isnan().numpy()], numbers[~numbers.isnan()]
    found = cast(bits, BY_TORCH[stored], BY_TORCH[wanted])
    assert same_numbers(found, wanted, numbers.to(getattr(torch, wanted)))


@given(values=st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=50), data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_number_is_rounded_to_the_nearest_even_one(values: list[float], data: st.DataObject) -> None:
    stored, wanted = data.draw(st.sampled_from(["float64", "float32"])), data.draw(st.sampled_from(TARGETS))
    numbers = torch.tensor(values, dtype=torch.float64).to(getattr(torch, stored))
    bits = np.frombuffer(numbers.numpy().tobytes(), dtype=BY_TORCH[stored].bits)
    found = cast(bits, BY_TORCH[stored], BY_TORCH[wanted])
    assert same_numbers(found, wanted, numbers.to(getattr(torch, wanted)))


@given(patterns=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
@settings(max_examples=200, deadline=None)
def test_any_pattern_of_32_bits_is_rounded_or_seen_as_nan(patterns: list[int]) -> None:
    bits = np.array(patterns, dtype="<u4")
    numbers = as_torch(bits, "float32")
    found = cast(bits, BY_NAME["F32"], BY_NAME["BF16"])
    if numbers.isnan().any():
        with pytest.raises(RunFailed, match="NaN"):
            check_numbers(bits, BY_NAME["F32"], found, BY_NAME["BF16"], "w")
        return
    assert same_numbers(found, "bfloat16", numbers.bfloat16())
    grew = bool((numbers.isfinite() & ~numbers.bfloat16().isfinite()).any())
    if grew and numbers.isfinite().all():
        with pytest.raises(RunFailed, match="bfloat16"):
            check_numbers(bits, BY_NAME["F32"], found, BY_NAME["BF16"], "w")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("-nan")])
@pytest.mark.parametrize("place", [0, 1, 999])
def test_a_nan_is_found_wherever_it_is(dtype: str, value: float, place: int) -> None:
    numbers = torch.randn(1000).to(getattr(torch, dtype))
    kind = BY_TORCH[dtype]

    def check() -> None:
        bits = np.frombuffer(numbers.view(torch.uint8).numpy().tobytes(), dtype=kind.bits)
        check_numbers(bits, kind, bits, kind, "layer.weight")

    numbers[5] = float("-inf")
    check()
    numbers[place] = value
    with pytest.raises(RunFailed, match=r"layer\.weight"):
        check()


def lazy(folder: Path, tensor: torch.Tensor) -> LazyTensor:
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    path.write_bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    dtype = BY_TORCH[str(tensor.dtype).removeprefix("torch.")]
    storage = Storage(SourceFile(path), 0, path.stat().st_size, None)
    return LazyTensor(storage, dtype, 0, tuple(tensor.shape), contiguous_strides(tuple(tensor.shape)))


def outputs(folder: Path, state: dict[str, torch.Tensor]) -> list[OutputTensor]:
    folder.mkdir()
    parts = {name: whole(lazy(folder, tensor)) for name, tensor in state.items()}
    return [output_tensor(name, part, part.dtype) for name, part in parts.items()]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_safetensors_reads_what_was_written(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Names, types, shapes and bits, whatever the shards' size; the fingerprint is that of the folder."""
    kinds = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.uint8, torch.float64]
    names = data.draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True))
    names = [name for name in names if name != "__metadata__" and name.isprintable()] or ["w"]
    state = {
        name: torch.randint(0, 2, data.draw(st.lists(st.integers(0, 4), max_size=3))).to(
            data.draw(st.sampled_from(kinds))
        )
        for name in names
    }
    folder = tmp_path_factory.mktemp("write")
    limit = data.draw(st.integers(1, 400))
    model = folder / "model"
    model.mkdir()
    shards = plan_shards(outputs(folder / "source", state), limit)
    digests = write_shards(model, model, shards, workers=data.draw(st.integers(1, 3)))
    found: dict[str, torch.Tensor] = {}
    for file in model.glob("*.safetensors"):
        found |= load_file(file)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert combine_digests(digests[name] for name in sorted(digests)) == weights_fingerprint(model)
    for file in model.glob("*.safetensors"):
        for stored in read_header(file):
            assert stored.start % BY_NAME[stored.dtype].itemsize == 0, "a tensor that is not aligned"


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20), limit=st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_shards_keep_the_order_and_the_limit(
    sizes: list[int], limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = {f"t{index}": torch.zeros(size, dtype=torch.uint8) for index, size in enumerate(sizes)}
    folder = tmp_path_factory.mktemp("plan")
    tensors = outputs(folder / "source", state)
    shards = plan_shards(tensors, limit)
    assert [tensor.name for shard in shards for tensor in shard.tensors] == list(state)
    for shard in shards:
        filled = [tensor.nbytes for tensor in shard.tensors if tensor.nbytes]
        assert sum(filled) <= limit or len(filled) == 1
    for first, second in itertools.pairwise(shards):
        assert sum(tensor.nbytes for tensor in first.tensors) + second.tensors[0].nbytes > limit


def test_a_tensor_of_many_chunks_is_written_whole(tmp_path: Path) -> None:
    tensor = torch.randn(3 * CHUNK_BYTES // 4 // 7 + 5, 7)
    (output,) = outputs(tmp_path / "source", {"w": tensor})
    model = tmp_path / "model"
    model.mkdir()
    seen: list[tuple[int, int]] = []
    write_shards(model, model, plan_shards([output], 1 << 40), progress=lambda done, total: seen.append((done, total)))
    with safe_open(model / "model.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("w"), tensor)
        assert file.metadata() == {"format": "pt"}
    assert seen[-1] == (tensor.nbytes, tensor.nbytes)
    assert sorted(seen) == seen


@pytest.mark.parametrize(
    ("size", "expected"),
    [("5GB", 5 * 10**9), ("500MB", 5 * 10**8), ("1.5GiB", 1610612736), ("10 kb", 10_000), ("7", 7), (12, 12)],
)
def test_sizes(size: int | str, expected: int) -> None:
    assert parse_size(size) == expected


@pytest.mark.parametrize("size", ["", "GB", "-5GB", "5 apples", "0", 0, -1, "1.2.3GB", "nan", "0.0001B", "."])
def test_sizes_that_are_none(size: int | str) -> None:
    with pytest.raises(UserError, match="shard size"):
        parse_size(size)


def test_dtypes_that_are_none_are_refused_with_those_that_are() -> None:
    assert parse_dtype(None) is None
    assert parse_dtype("torch.bfloat16") is BY_NAME["BF16"]
    for text in ("int8", "float8_e4m3fn", "b16", ""):
        with pytest.raises(UserError, match="bfloat16"):
            parse_dtype(text)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_update_is_added_before_rounding(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """W + s B A in any chunks and pieces, rounded once: within an ulp of the sum in 64 bits."""
    rows, width, rank = (data.draw(st.integers(1, 9)) for _ in range(3))
    folder = tmp_path_factory.mktemp("delta")
    weight = torch.randn(rows, width)
    left, right = torch.randn(rows, rank), torch.randn(rank, width)
    cut, axis = data.draw(st.integers(0, rows)), data.draw(st.integers(0, 1))
    cut = min(cut, weight.shape[axis])
    first = weight.narrow(axis, 0, cut)
    second = weight.narrow(axis, cut, weight.shape[axis] - cut)
    start = (cut, 0) if axis == 0 else (0, cut)
    pieces = (Piece(lazy(folder, first), (0, 0)), Piece(lazy(folder, second), start))
    grid = None
    if data.draw(st.booleans()):  # the same as flat partitions
        flat = weight.reshape(-1)
        grid, pieces = (rows * width,), (Piece(lazy(folder, flat[:cut]), (0,)), Piece(lazy(folder, flat[cut:]), (cut,)))
    delta = LowRank(left.numpy(), right.numpy(), 0.5)
    parts = Parts((rows, width), BY_NAME["F32"], pieces, grid, delta)
    found = read_all(output_tensor("w", parts, BY_NAME["F32"]))
    exact = weight.double() + 0.5 * left.double() @ right.double()
    error = np.abs(to_float(found, BY_NAME["F32"]).astype(np.float64) - exact.reshape(-1).numpy())
    assert (error <= 1e-5).all()


def test_the_index_names_every_tensor(tmp_path: Path) -> None:
    state = {name: torch.ones(10) for name in "abc"}
    model = tmp_path / "model"
    model.mkdir()
    write_shards(model, model, plan_shards(outputs(tmp_path / "source", state), 50))
    index = json.loads((model / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 120
    assert index["weight_map"] == {
        name: f"model-0000{number}-of-00003.safetensors" for number, name in enumerate("abc", 1)
    }
