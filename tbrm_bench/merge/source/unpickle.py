"""A checkpoint's pickle, read with an allow-list and without running anything that it names.

The weights-only rule of torch, drawn tighter: only the names of `inert` exist, and they are inert. Tensors come back as
`LazyTensor`s that point into the file.
"""

import io
import pickle
from pathlib import Path
from typing import Any

from tbrm_bench.merge.refusals import DamagedFile, UnknownFormat, UnsafePickle
from tbrm_bench.merge.source.archive import Record, read_directory
from tbrm_bench.merge.source.byte_ranges import SourceFile, Storage
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.inert import allowed
from tbrm_bench.merge.source.opcodes import check_opcodes

MAX_PICKLE_BYTES = 1 << 29
# What a pickle made of wrong bytes, or by hand, can make the unpickler raise.
_BROKEN = (
    pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
    RecursionError, AssertionError, ImportError,
)  # fmt: skip


class Archive:
    """A file of torch.save, or a part of one: `root` is the name that it was saved under, `value` what was saved."""

    def __init__(self, file: SourceFile, start: int = 0, length: int | None = None) -> None:
        self.file = file
        if start == 0 and file.size >= 2 and file.read(0, 2)[:1] == b"\x80":
            raise UnknownFormat(
                f"{file.path} is a pickle of torch before 1.6, which is not read; load it once with a torch that you "
                "trust it with and torch.save it again"
            )
        self.root, self.records = read_directory(file, start, length)
        self._storages: dict[str, Storage] = {}
        if "byteorder" in self.records and self._bytes(self.records["byteorder"]) != b"little":
            raise UnknownFormat(f"{file.path} was written on a big-endian machine, which is not read")
        self.value = restricted_load(file.path, self._bytes(self.records["data.pkl"]), self._persistent)

    @property
    def has_checksums(self) -> bool:
        """Whether the writer stored the checksums of its records."""
        return self.records["data.pkl"].crc is not None

    @property
    def storages(self) -> list[Storage]:
        """The storages that the pickle names."""
        return list(self._storages.values())

    def _bytes(self, record: Record) -> bytes:
        if record.size > MAX_PICKLE_BYTES:
            raise DamagedFile(self.file.path, f"member {record.name} has {record.size} bytes, beyond any real one")
        storage = Storage(self.file, record.offset, record.size, record.crc)
        buffer = bytearray(record.size)
        storage.read_into(memoryview(buffer), 0)
        storage.finish()
        return bytes(buffer)

    def _persistent(self, reference: Any) -> tuple[Storage, DType]:
        """Return the storage that ("storage", FloatStorage, "0", "cuda:3", numel) stands for."""
        kind, dtype, key, _device, numel = reference
        if kind != "storage" or not isinstance(dtype, DType) or type(key) is not str or type(numel) is not int:
            raise ValueError("a reference that is not one to a storage")
        if key not in self._storages:
            record = self.records.get(f"data/{key}")
            if record is None:
                raise DamagedFile(self.file.path, f"the bytes of storage {key} are not in it")
            self._storages[key] = Storage(self.file, record.offset, record.size, record.crc)
        storage = self._storages[key]
        if numel * dtype.itemsize > storage.size:
            raise DamagedFile(self.file.path, f"storage {key} has {storage.size} bytes, not {numel * dtype.itemsize}")
        return storage, dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, data: bytes, persistent: Any) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        """Return the inert thing that stands for a name; raises UnsafePickle for a name that is not on the list."""
        found = allowed(module, name)
        if found is None:
            raise UnsafePickle(self._path, f"{module}.{name}")
        return found

    def persistent_load(self, reference: Any) -> Any:
        """Return the storage of a reference."""
        return self._persistent(reference)


def restricted_load(path: Path, data: bytes, persistent: Any = None) -> Any:
    """Return what a pickle holds, as inert things; raises UnsafePickle or DamagedFile, and runs nothing."""

    def none(reference: Any) -> Any:
        raise ValueError(f"a reference to {reference!r} where none belongs")

    try:
        check_opcodes(data)
        return _Unpickler(path, data, persistent or none).load()
    except _BROKEN as error:
        raise DamagedFile(path, f"its pickle cannot be read ({type(error).__name__}: {error})") from error
