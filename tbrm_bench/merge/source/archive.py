"""The zip archive that `torch.save` writes, read as a table of byte ranges; nothing is inflated.

    model_world_size_4_rank_1/data.pkl     the pickle: names, shapes and references to the records below
    model_world_size_4_rank_1/byteorder    "little"
    model_world_size_4_rank_1/data/0       the bytes of a storage, stored as they are, with their CRC-32

torch never compresses, so a compressed record marks a file that is not a checkpoint (or a bomb) and is refused, as is
one whose records overlap or lie outside it. Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import SourceFile

_END = struct.Struct("<4sHHHHIIH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
MAX_DIRECTORY_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Record:
    """One member of the archive: `size` bytes at `offset` of the file; `crc` is None where the writer took none."""

    name: str
    offset: int
    size: int
    crc: int | None


def read_directory(file: SourceFile, start: int = 0, length: int | None = None) -> tuple[str, dict[str, Record]]:
    """Return the archive's root folder and its records by their name below it.

    The archive fills `length` bytes from `start` on (all of the file if left out). Raises DamagedFile for anything that
    torch would not have written: a cut, an overlap, a compressed or doubled record.
    """
    stop = file.size if length is None else start + length
    if not 0 <= start <= stop <= file.size:
        raise DamagedFile(file.path, f"an archive at bytes {start} to {stop} of {file.size}")
    if stop - start < _END.size or file.read(start, 4) != b"PK\x03\x04":
        raise DamagedFile(file.path, "it does not begin like a zip archive; torch.save of torch >= 1.6 writes one")
    first, size, count = _find_directory(file, start, stop)
    records = list(_entries(file, start, file.read(first, size), count))
    _check_layout(file, records, first)
    roots = {record.name.partition("/")[0] for record in records}
    names = {record.name.partition("/")[2]: record for record in records}
    if len(roots) != 1 or len(names) != len(records) or "data.pkl" not in names:
        raise DamagedFile(file.path, "its members are not those of torch.save")
    return roots.pop(), names


def archive_start(file: SourceFile, stop: int) -> int:
    """Return where the archive begins that ends at `stop`: a file may hold one after the other."""
    if stop < _END.size:
        raise DamagedFile(file.path, "it has no end: cut short while it was written or copied")
    end_at = stop - _END.size
    magic, _, _, _, _, size, offset, _ = _END.unpack(file.read(end_at, _END.size))
    locator_at = end_at - _END64_LOCATOR.size
    if magic == b"PK\x05\x06" and locator_at >= _END64.size and file.read(locator_at, 4) == b"PK\x06\x07":
        end_at = locator_at - _END64.size
        size, offset = _END64.unpack(file.read(end_at, _END64.size))[8:]
    start: int = end_at - size - offset
    if magic != b"PK\x05\x06" or not 0 <= start < stop:
        raise DamagedFile(file.path, "its directory is not where it says")
    return start


def _find_directory(file: SourceFile, start: int, stop: int) -> tuple[int, int, int]:
    """Return where the central directory begins in the file, its bytes and its number of entries."""
    end_at = stop - _END.size
    magic, _, _, _, count, size, offset, comment = _END.unpack(file.read(end_at, _END.size))
    if magic != b"PK\x05\x06" or comment:
        raise DamagedFile(file.path, "it has no end: cut short while it was written or copied")
    if end_at - _END64_LOCATOR.size >= start:
        mark, _, end64, _ = _END64_LOCATOR.unpack(file.read(end_at - _END64_LOCATOR.size, _END64_LOCATOR.size))
        if mark == b"PK\x06\x07":
            end_at = start + end64
            if end_at + _END64.size > stop:
                raise DamagedFile(file.path, "its directory points outside of it")
            fields = _END64.unpack(file.read(end_at, _END64.size))
            if fields[0] != b"PK\x06\x06":
                raise DamagedFile(file.path, "its directory is not where it says")
            count, size, offset = fields[7:10]
    if start + offset + size != end_at or size > MAX_DIRECTORY_BYTES:
        raise DamagedFile(file.path, "its directory is not where it says")
    return start + offset, size, count


def _entries(file: SourceFile, start: int, directory: bytes, count: int) -> Iterator[Record]:
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory):
            raise DamagedFile(file.path, "its directory is cut short")
        entry = _ENTRY.unpack_from(directory, at)
        magic, method, crc, packed, size = entry[0], entry[4], entry[7], entry[8], entry[9]
        name_length, extra_length, comment_length, offset = entry[10], entry[11], entry[12], entry[16]
        name = directory[at + _ENTRY.size : at + _ENTRY.size + name_length]
        extra = directory[at + _ENTRY.size + name_length :][:extra_length]
        at += _ENTRY.size + name_length + extra_length + comment_length
        if magic != b"PK\x01\x02" or at > len(directory):
            raise DamagedFile(file.path, "its directory is broken")
        size, packed, offset = _wide(extra, size, packed, offset)
        if method != 0 or size != packed:
            raise DamagedFile(file.path, f"member {name.decode(errors='replace')} is compressed; torch never does that")
        yield _locate(file, start + offset, name, size, crc)
    if at != len(directory):
        raise DamagedFile(file.path, "its directory is longer than its entries")


def _wide(extra: bytes, *fields: int) -> list[int]:
    """Take the fields that are all ones from the zip64 extra block, in the format's order."""
    block = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            block = extra[4 : 4 + length]
        extra = extra[4 + length :]
    values = []
    for field in fields:
        if field == 0xFFFF_FFFF and len(block) >= 8:
            field, block = int.from_bytes(block[:8], "little"), block[8:]
        values.append(field)
    return values


def _locate(file: SourceFile, at: int, name: bytes, size: int, crc: int) -> Record:
    header = file.read(at, _LOCAL.size + len(name))
    fields = _LOCAL.unpack_from(header)
    if fields[0] != b"PK\x03\x04" or fields[9] != len(name) or header[_LOCAL.size :] != name:
        raise DamagedFile(file.path, f"member {name.decode(errors='replace')} is not where its directory says")
    offset = at + len(header) + fields[10]
    # A writer that was told to take no checksums leaves zeros.
    return Record(name.decode(errors="replace"), offset, size, crc if crc or not size else None)


def _check_layout(file: SourceFile, records: list[Record], stop: int) -> None:
    end = 0
    for record in sorted(records, key=lambda record: (record.offset, record.size)):
        if record.offset < end or record.offset + record.size > stop:
            raise DamagedFile(file.path, f"member {record.name} overlaps another or leaves the file")
        end = record.offset + record.size
