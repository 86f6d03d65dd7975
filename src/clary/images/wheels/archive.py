"""The zip file that a wheel is: its directory, read by hand and believed only where all its parts agree.

Only what wheels need is read: stored and deflated files, zip64, data descriptors. What two readers could understand
differently (bytes before or behind, headers that differ, files that overlap) is refused. Source: APPNOTE 6.3.10.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from clary.images.wheels.names import check_name, folders_of
from clary.images.wheels.problems import Problem

STORED, DEFLATED = 0, 8
MOST_ENTRIES = 200_000
"""Files of one wheel; the largest that are known hold some 40,000."""
MOST_UNPACKED = 64 << 30
"""Bytes of all files of one wheel."""
_MOST_DIRECTORY = 64 << 20
"""Bytes of a directory that are read into memory."""
_MOST_SHRUNK = 1032
"""Deflate makes nothing smaller than by this factor (zlib's technical notes): who claims more lies."""
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT = 0xFFFF
_BY_DESCRIPTOR, _UTF8 = 0x0008, 0x0800
_REFUSED_FLAGS = 0x0001 | 0x0020 | 0x0040 | 0x2000
"""Encrypted, patched, strongly encrypted, masked."""
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF


class Entry(NamedTuple):
    """One file in a wheel."""

    name: str
    method: int
    """``STORED`` or ``DEFLATED``."""
    crc: int
    packed: int
    """Bytes in the wheel."""
    size: int
    """Bytes of the file."""
    executable: bool
    start: int
    """Where its bytes begin in the wheel."""


class _Listed(NamedTuple):
    """What the directory says of one file."""

    entry: Entry
    name: bytes
    flags: int
    folder: bool


def read_directory(file: int, size: int) -> tuple[Entry, ...]:
    """Return the files of a zip file in the order of their bytes; folders are left out.

    ``file`` is an open descriptor and ``size`` the file's bytes. Raises Problem.
    """
    count, start, end = _find_directory(file, size)
    listed = sorted(_read_listed(read_at(file, start, end - start), count), key=lambda one: one.entry.start)
    entries = [_locate(file, one, start) for one in listed]
    for (before, _), (after, header) in pairwise(entries):
        if before.start + before.packed > header:
            raise Problem("it overlaps with another file", after.name)
    if entries and entries[-1][0].start + entries[-1][0].packed > start:
        raise Problem("it overlaps with the directory", entries[-1][0].name)
    files = tuple(entry for one, (entry, _) in zip(listed, entries, strict=True) if not one.folder)
    _check_names(files)
    return files


def read_at(file: int, start: int, length: int) -> bytes:
    """Return these bytes of an open file; raises Problem where it ends before, or cannot be read."""
    try:
        data = os.pread(file, length, start)
        while len(data) < length and (more := os.pread(file, length - len(data), start + len(data))):
            data += more
    except (OSError, OverflowError) as error:
        raise Problem(f"it cannot be read: {error}") from None
    if len(data) < length:
        raise Problem("the file is cut off")
    return data


def _find_directory(file: int, size: int) -> tuple[int, int, int]:
    """Return how many entries the directory has, where it starts and where it ends."""
    if size < _END.size:
        raise Problem("it is no zip file")
    tail = read_at(file, max(0, size - _END.size - _LONGEST_COMMENT), min(size, _END.size + _LONGEST_COMMENT))
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise Problem("it is no zip file, or it is cut off")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise Problem("something follows the end of its directory")
    end = size - len(tail) + at
    locator = end - _LOCATOR.size
    if locator >= 0 and read_at(file, locator, 4) == b"PK\6\7":
        disk, first_disk, here, count, length, start, end = _read_end_64(file, locator)
    if disk or first_disk or here != count:
        raise Problem("it is one part of several")
    if count > MOST_ENTRIES or length > _MOST_DIRECTORY:
        raise Problem(f"it lists {count} files; at most {MOST_ENTRIES} are read")
    if start + length != end:
        raise Problem("its directory does not lie where it says")
    return count, start, end


def _read_end_64(file: int, locator: int) -> tuple[int, int, int, int, int, int, int]:
    _, disk, at, disks = _LOCATOR.unpack(read_at(file, locator, _LOCATOR.size))
    if disk or disks != 1 or at + _END_64.size != locator:
        raise Problem("the end of its directory does not lie where it says")
    mark, record, _, _, disk, first_disk, here, count, length, start = _END_64.unpack(
        read_at(file, at, _END_64.size),
    )
    if mark != b"PK\6\6" or record != _END_64.size - 12:
        raise Problem("the end of its directory is damaged")
    return disk, first_disk, here, count, length, start, at


def _read_listed(data: bytes, count: int) -> Iterator[_Listed]:
    at = total = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data) or data[at : at + 4] != b"PK\1\2":
            raise Problem("its directory is damaged")
        fields = _ENTRY.unpack_from(data, at)
        name_length, extra_length, comment_length = fields[12:15]
        begin = at + _ENTRY.size
        at = begin + name_length + extra_length + comment_length
        if at > len(data):
            raise Problem("its directory is damaged")
        name, extra = data[begin : begin + name_length], data[begin + name_length : begin + name_length + extra_length]
        one = _listed(fields, name, extra)
        total += one.entry.size
        if total > MOST_UNPACKED:
            raise Problem(f"its files claim more than {MOST_UNPACKED >> 30} GiB together")
        yield one
    if at != len(data):
        raise Problem("its directory lists fewer files than it holds")


def _listed(fields: tuple[int, ...], raw: bytes, extra: bytes) -> _Listed:
    flags, method = fields[5:7]
    crc, packed, size = fields[9:12]
    disk, attributes, start = fields[15], fields[17], fields[18]
    name = _decode(raw, flags)
    size, packed, start = _widen(name, extra, size, packed, start)
    folder = name.endswith("/")
    check_name(name[:-1] if folder else name)
    if flags & _REFUSED_FLAGS:
        raise Problem("it is encrypted", name)
    if method not in (STORED, DEFLATED):
        raise Problem(f"it is compressed by method {method}; wheels use deflate", name)
    if disk:
        raise Problem("it lies on another disk", name)
    mode = attributes >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise Problem("it is a link or a special file", name)
    if (folder and size) or (method == STORED and size != packed) or size > packed * _MOST_SHRUNK:
        raise Problem("its sizes cannot be right", name)
    executable = stat.S_ISREG(mode) and bool(mode & 0o111)
    return _Listed(Entry(name, method, crc, packed, size, executable, start), raw, flags, folder)


def _decode(raw: bytes, flags: int) -> str:
    if raw.isascii():
        return raw.decode("ascii")
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise Problem(f"a name in it is not UTF-8: {raw[:100]!r}") from None


def _widen(name: str, extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
    """Take the fields that have no room in 32 bits from the entry's zip64 part."""
    if _FULL_32 not in (size, packed, start):
        return size, packed, start
    wide = _zip64_part(name, extra)
    values = []
    for value in (size, packed, start):
        if value == _FULL_32:
            if len(wide) < 8:
                raise Problem("its zip64 part is damaged", name)
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        values.append(value)
    return values[0], values[1], values[2]


def _zip64_part(name: str, extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    raise Problem("its zip64 part is missing", name)


def _locate(file: int, one: _Listed, directory: int) -> tuple[Entry, int]:
    """Return the entry with the place of its bytes, which its own header tells, and the place of that header."""
    entry, header = one.entry, one.entry.start
    if header + _LOCAL.size + len(one.name) > directory:
        raise Problem("it lies behind the end of the files", entry.name)
    head = read_at(file, header, _LOCAL.size + len(one.name))
    mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(head)
    if (mark, flags, method, name_length) != (b"PK\3\4", one.flags, entry.method, len(one.name)):
        raise Problem("its header does not agree with the directory", entry.name)
    if head[_LOCAL.size :] != one.name:
        raise Problem("its header has another name than the directory", entry.name)
    start = header + _LOCAL.size + name_length + extra_length
    if _FULL_32 in (size, packed):
        extra = read_at(file, start - extra_length, extra_length)
        size, packed, _ = _widen(entry.name, extra, size, packed, 0)
    told = (crc, packed, size)
    if told != (entry.crc, entry.packed, entry.size) and not (flags & _BY_DESCRIPTOR and told == (0, 0, 0)):
        raise Problem("its header has other sizes than the directory", entry.name)
    return entry._replace(start=start), header


def _check_names(entries: tuple[Entry, ...]) -> None:
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise Problem("it is there twice", entry.name)
        names.add(entry.name)
    for name in sorted(names & folders_of(names)):
        raise Problem("it is both a file and a folder", name)
