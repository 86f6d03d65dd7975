"""A gzip file of many members, some of which are deflate streams that somebody else has compressed.

RFC 1952 lets members follow one another, and a member holds a deflate stream as zip files do. So what a wheel has
compressed goes into a layer byte for byte, without being compressed again.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from typing import BinaryIO

Feed: TypeAlias = Callable[[Callable[[bytes], object], Callable[[bytes], object]], object]
"""Hands over a stream piece by piece: to the first what is compressed, to the second the same, not compressed."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate, no flags, no time, no hint, of an unknown system (255)."""
_LEVEL = 6
COMPRESSOR = f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_LEVEL}"
"""What decides the compressed bytes beside the content; part of the keys of what is kept."""


class GzipWriter:
    """Writes a gzip file, and knows its digests when it is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._packed = hashlib.sha256()
        self._unpacked = hashlib.sha256()
        self._packer: zlib._Compress | None = None
        self._crc = self._length = 0
        self.size = 0
        """Bytes written."""

    def write(self, data: bytes) -> None:
        """Compress and write."""
        if self._packer is None:
            self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._crc = self._length = 0
            self._emit(_HEADER)
        self._unpacked.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        self._emit(self._packer.compress(data))

    def splice(self, crc: int, length: int, feed: Feed) -> None:
        """Write a stream that is compressed already, as a member of its own.

        Args:
            crc: CRC-32 of its content. ``feed`` must raise where this or the length turns out to be wrong.
            length: bytes of its content.
            feed: hands over the stream.
        """
        self._end_member()
        self._emit(_HEADER)
        feed(self._emit, self._unpacked.update)
        self._emit(_trailer(crc, length))

    def close(self) -> None:
        """Write what is left. The file itself stays open."""
        self._end_member()

    @property
    def digest(self) -> str:
        """The digest of the bytes written, ``sha256:…``."""
        return f"sha256:{self._packed.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """The digest of the content, ``sha256:…``."""
        return f"sha256:{self._unpacked.hexdigest()}"

    def _end_member(self) -> None:
        if self._packer is not None:
            self._emit(self._packer.flush() + _trailer(self._crc, self._length))
            self._packer = None

    def _emit(self, data: bytes) -> None:
        if data:
            self._packed.update(data)
            self._file.write(data)
            self.size += len(data)


def _trailer(crc: int, length: int) -> bytes:
    return struct.pack("<2L", crc, length & 0xFFFFFFFF)
