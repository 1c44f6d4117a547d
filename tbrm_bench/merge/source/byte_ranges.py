"""Source files read by position, and the checksum of every byte range that is read from them.

A file is read with `pread` into buffers, not mapped: memory does not grow with the file, a limit on address space
does not matter, and a file that is cut while it is read gives an error instead of a signal that kills the process.

`Storage` keeps the CRC-32 that the archive promises. Each range is summed when it is read, in whatever order threads
come by; `finish` joins the sums (a CRC of two neighbours follows from theirs and the second's length), reads what is
left, padding for instance, and compares. So every byte is verified and almost none is read twice.
"""

import errno
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isal.isal_zlib import crc32

from tbrm_bench.disk import user_error
from tbrm_bench.errors import UserError
from tbrm_bench.merge.refusals import DamagedFile

FILL_BYTES = 1 << 22
_POLYNOMIAL = 0xEDB8_8320


class SourceFile:
    """An open file; `read` and `read_into` may be called by many threads. Raises UserError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise user_error(error, path, verb="opened") from error
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self.modified_ns = status.st_mtime_ns

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def __setstate__(self, state: object) -> None:
        raise TypeError("a file has no state")

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes; raises DamagedFile if the file has fewer."""
        buffer = bytearray(size)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer from `offset` on; raises DamagedFile if the file has fewer bytes."""
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                if error.errno == errno.ENOMEM:
                    raise MemoryError(error.strerror) from error
                raise user_error(error, self.path, verb=f"read at byte {offset + done}") from error
            if not count:
                raise DamagedFile(self.path, f"it ends at byte {offset + done}, {len(buffer) - done} bytes early")
            done += count

    def is_unchanged(self) -> bool:
        """Whether the file on disk still has the size and time that it was opened with."""
        status = os.fstat(self._descriptor)
        return (status.st_size, status.st_mtime_ns) == (self.size, self.modified_ns)


@dataclass(slots=True, eq=False)
class Storage:
    """The bytes [offset, offset + size) of a file that tensors are views of; `crc` is None where none was stored."""

    file: SourceFile
    offset: int
    size: int
    crc: int | None
    _sums: dict[int, tuple[int, int]] = field(default_factory=dict)  # start -> (stop, sum)
    _ends: dict[int, int] = field(default_factory=dict)  # stop -> start
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __setstate__(self, state: object) -> None:
        raise TypeError("a storage has no state")

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill the buffer with the storage's bytes from `start` on, summing them."""
        if start < 0 or start + len(buffer) > self.size:
            raise DamagedFile(self.file.path, f"a tensor reaches to byte {start + len(buffer)} of {self.size}")
        self.file.read_into(buffer, self.offset + start)
        if self.crc is not None:
            self._note(start, buffer)

    def finish(self) -> None:
        """Compare the checksum of all the bytes, reading those that no tensor asked for; raises DamagedFile."""
        if self.crc is None:
            return
        total = position = 0
        for start, (stop, value) in sorted(self._sums.items()):
            if start < position:  # ranges that overlap cannot be joined: begin anew
                total = position = 0
                break
            total = self._fill(position, start, total)
            total, position = join_crc(total, value, stop - start), stop
        total = self._fill(position, self.size, total)
        if total != self.crc:
            raise DamagedFile(
                self.file.path,
                f"the checksum of its bytes {self.offset} to {self.offset + self.size} is {total:08x}, "
                f"not {self.crc:08x}",
            )

    def _note(self, start: int, buffer: memoryview) -> None:
        with self._lock:
            first = self._ends.get(start)
            before = 0 if first is None else self._sums[first][1]
        value = crc32(buffer, before)
        with self._lock:
            if first is None:
                first = start
                if start in self._sums:  # read before: a tensor that another one shares its bytes with
                    return
            elif self._ends.pop(start, None) is None:
                return
            self._sums[first] = (start + len(buffer), value)
            self._ends[start + len(buffer)] = first

    def _fill(self, start: int, stop: int, value: int) -> int:
        buffer = bytearray(min(FILL_BYTES, stop - start))
        while start < stop:
            part = memoryview(buffer)[: min(FILL_BYTES, stop - start)]
            self.file.read_into(part, self.offset + start)
            value = crc32(part, value)
            start += len(part)
        return value


def join_crc(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32 of two byte strings written one after the other, given theirs and the second's length.

    As polynomials over GF(2): appending n bytes multiplies the first sum by x^(8n). (zlib's crc32_combine.)
    """
    return _multiply(_power_of_x(8 * second_bytes), first) ^ second


def _power_of_x(exponent: int) -> int:
    result, square = 1 << 31, 1 << 30  # bits are reflected: x^0 and x^1
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result


def _multiply(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def check_unchanged(files: Sequence[SourceFile]) -> None:
    """Raise UserError if a file was written to since it was opened."""
    for file in files:
        if not file.is_unchanged():
            raise UserError(f"{file.path} changed while it was read; wait until training has written it, then repeat")
