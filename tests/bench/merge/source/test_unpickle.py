"""What torch.save writes is read back to the bit, without torch; what it did not write is refused in one line."""

import contextlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forging import forge, open_saved
from hypothesis import given, settings
from hypothesis import strategies as st

from tbrm_bench.errors import UserError
from tbrm_bench.merge.model.manifest import identity
from tbrm_bench.merge.refusals import DamagedFile, UnknownFormat
from tbrm_bench.merge.source.archive import archive_start
from tbrm_bench.merge.source.byte_ranges import SourceFile, Storage, join_crc
from tbrm_bench.merge.source.inert import Stub
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import Archive

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.uint16, torch.float8_e4m3fn,
]  # fmt: skip


def bits(tensor: torch.Tensor) -> bytes:
    """The elements' bytes in row-major order."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def read(tensor: Any) -> bytes:
    assert isinstance(tensor, LazyTensor)
    return np.ascontiguousarray(tensor.read()).tobytes()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_view_is_read_as_torch_sees_it(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = data.draw(st.lists(st.integers(0, 5), max_size=4))
    dtype = data.draw(st.sampled_from(DTYPES))
    raw = torch.randint(0, 2 if dtype is torch.bool else 100, shape).to(dtype)
    view = raw.permute(data.draw(st.permutations(range(len(shape)))))
    for axis, size in enumerate(view.shape):
        start = data.draw(st.integers(0, size))
        view = view.narrow(axis, start, data.draw(st.integers(0, size - start)))
    folder = tmp_path_factory.mktemp("view")
    archive = open_saved(folder / "a.pt", {"view": view, "raw": raw, "parameter": torch.nn.Parameter(raw, False)})
    assert archive.value.keys() == {"view", "raw", "parameter"}
    for name, tensor in {"view": view, "raw": raw, "parameter": raw}.items():
        found = archive.value[name]
        assert found.shape == tuple(tensor.shape)
        assert found.dtype.torch == str(dtype).removeprefix("torch.")
        assert read(found) == bits(tensor)
    for storage in archive.storages:
        storage.finish()
    assert archive.value["view"].storage is archive.value["raw"].storage


def test_two_names_of_one_tensor_are_one_region(tmp_path: Path) -> None:
    weight = torch.ones(3, 4)
    archive = open_saved(tmp_path / "a.pt", {"a": weight, "b": weight, "c": weight.clone()})
    a, b, c = (archive.value[name] for name in "abc")
    assert a.region == b.region != c.region


def small_file(folder: Path) -> Path:
    torch.save({"weight": torch.arange(40.0).reshape(8, 5), "step": torch.tensor(7)}, folder / "small.pt")
    return folder / "small.pt"


def read_all(path: Path) -> dict[str, bytes]:
    archive = Archive(SourceFile(path))
    values = {name: read(tensor) for name, tensor in archive.value.items()}
    for storage in archive.storages:
        storage.finish()
    return values


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError) as caught:
            read_all(path)
        assert "\n" not in str(caught.value)


def test_a_flipped_byte_never_changes_a_value(tmp_path: Path) -> None:
    """Every byte of the file in turn: the values are the same, or the file is refused."""
    path = small_file(tmp_path)
    whole = path.read_bytes()
    expected = read_all(path)
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            assert read_all(path) == expected, place
        except UserError:
            refused += 1
    payload = sum(map(len, expected.values()))
    assert refused > payload  # at least the tensors' own bytes; padding is free


def test_a_files_identity_is_that_of_its_content(tmp_path: Path) -> None:
    """For one archive, for several in a row as distributed checkpoints have them, and for anything else."""
    states = [{"weight": torch.arange(40.0) + number, "n": number} for number in range(3)]
    seen = {}
    for number, chosen in enumerate(([0], [1], [0, 1], [1, 0], [0, 1, 2])):
        parts = []
        for index in chosen:
            buffer = io.BytesIO()
            torch.save(states[index], buffer)
            parts.append(buffer.getvalue())
        path = tmp_path / f"{number}.distcp"
        path.write_bytes(b"".join(parts))
        seen[identity(path)] = number
        starts = [sum(map(len, parts[:index])) for index in range(len(parts))]
        stop, found = path.stat().st_size, []
        while stop:
            stop = archive_start(SourceFile(path), stop)
            found.append(stop)
        assert found == starts[::-1]
        (tmp_path / "copy").write_bytes(path.read_bytes())
        assert identity(tmp_path / "copy") == identity(path)
    path.write_bytes(path.read_bytes()[:-1])
    seen[identity(path)] = -1
    assert len(seen) == 6


def test_checksums_are_not_demanded_of_a_writer_that_took_none(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        archive = open_saved(tmp_path / "a.pt", {"weight": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert not archive.has_checksums
    assert read(archive.value["weight"]) == bits(torch.ones(3))


@given(parts=st.lists(st.binary(max_size=40), min_size=2, max_size=6))
def test_the_sum_of_a_whole_follows_from_those_of_its_parts(parts: list[bytes]) -> None:
    import zlib

    total = 0
    for part in parts:
        total = join_crc(total, zlib.crc32(part), len(part))
    assert total == zlib.crc32(b"".join(parts))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_ranges_read_in_any_order_add_up(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever was read, twice or not at all, the right bytes pass and wrong ones do not."""
    import zlib

    content = data.draw(st.binary(min_size=1, max_size=60))
    path = tmp_path_factory.mktemp("ranges") / "bytes"
    path.write_bytes(b"##" + content)
    cuts = st.tuples(st.integers(0, len(content)), st.integers(0, len(content)))
    ranges = [tuple(sorted(cut)) for cut in data.draw(st.lists(cuts, max_size=6))]
    for crc, is_right in ((zlib.crc32(content), True), (zlib.crc32(content) ^ 1, False)):
        storage = Storage(SourceFile(path), 2, len(content), crc)
        for start, stop in ranges:
            buffer = bytearray(stop - start)
            storage.read_into(memoryview(buffer), start)
            assert bytes(buffer) == content[start:stop]
        if is_right:
            storage.finish()
        else:
            with pytest.raises(DamagedFile, match="checksum"):
                storage.finish()


def test_old_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    old = tmp_path / "old.pt"
    torch.save({"weight": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(UnknownFormat, match=r"before 1\.6"):
        Archive(SourceFile(old))
    for content in (b"", b"PK", b"PK\x03\x04", b"<html>not found</html>", b"\0" * 4096):
        old.write_bytes(content)
        with pytest.raises(UserError):
            Archive(SourceFile(old))


def test_a_compressed_member_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = forge(tmp_path / "bomb.pt", b"\x80\x02}.", members={"data/0": bytes(50_000_000)}, compress=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(DamagedFile, match="compressed"):
        Archive(SourceFile(path))


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """The other kind of bomb: many entries of the directory that point to the same bytes."""
    path = forge(tmp_path / "bomb.pt", b"\x80\x02}.", members={"data/0": b"x" * 400, "data/1": b"x" * 400})
    content = bytearray(path.read_bytes())
    first, second = (content.rindex(b"bomb/data/%d" % index) for index in (0, 1))
    offset = struct.unpack_from("<I", content, first - 4)[0]
    struct.pack_into("<I", content, second - 4, offset)
    local = content.index(b"bomb/data/0")
    content[local : local + 11] = b"bomb/data/1"
    path.write_bytes(content)
    with pytest.raises(DamagedFile):
        Archive(SourceFile(path))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # memo index 2,147,483,647: tens of gigabytes in the unpickler
        b"\x80\x02]p2147483647\n.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of two gigabytes that is not there
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x02(((((((((",
        b"\x80\x02.",
        b"\x80\x02Q.",
        b"\x80\x02}(K\x01u.",
        b"",
        b".",
    ],
)
def test_a_broken_pickle_is_one_line(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedFile) as caught:
        Archive(SourceFile(forge(tmp_path / "a.pt", data)))
    assert "\n" not in str(caught.value)


@given(junk=st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_loaded_or_refused(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = forge(tmp_path_factory.getbasetemp() / "junk.pt", b"\x80\x02" + junk + b".")
    with contextlib.suppress(UserError):
        Archive(SourceFile(path))


def test_objects_of_libraries_come_back_as_what_they_carried(tmp_path: Path) -> None:
    import argparse
    import collections
    import datetime

    value = {
        "ordered": collections.OrderedDict(a=1, b=2),
        "counts": collections.Counter("aab"),
        "args": argparse.Namespace(lr=0.5),
        "when": datetime.date(2020, 1, 2),
        "array": np.arange(3),
        "shape": torch.Size([2, 3]),
        "path": Path("/tmp/x"),
        "set": {1, 2},
    }
    found = open_saved(tmp_path / "a.pt", value).value
    assert found["ordered"] == {"a": 1, "b": 2}
    assert found["counts"] == {"a": 2, "b": 1}
    assert isinstance(found["args"], Stub)
    assert found["args"].get("lr") == 0.5
    assert found["shape"] == (2, 3)
    assert sorted(found["set"]) == [1, 2]
    assert all(isinstance(found[name], Stub) for name in ("when", "array", "path"))
