"""A wheel on this machine, read file by file, each checked while it is read.

A wheel is believed where its directory, the headers of its files, their CRCs and lengths, and the digests in its RECORD
all agree. Source: "Binary distribution format", packaging.python.org.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from clary.images.wheels.archive import DEFLATED, Entry, read_at, read_directory
from clary.images.wheels.metadata import Metadata, encoded, read_metadata, scripts_folder
from clary.images.wheels.problems import Problem, blamed

Sink: TypeAlias = Callable[[bytes], object]
"""Takes bytes as they come."""
_READ = 256 * 1024
"""Bytes of a wheel that are read at once."""
_PIECE = 1024 * 1024
"""Bytes of a file that are held at once."""
_MOST_TEXT = 32 * 1024 * 1024
"""Bytes of a file that is read whole: metadata, and scripts whose first line is rewritten."""
_SCRIPT = b"#!python"


class WheelFile:
    """A wheel on this machine. It is opened for each reading, so that any number can be in use."""

    def __init__(self, path: Path, filename: str) -> None:
        """Read what the wheel says of itself.

        ``filename`` is the wheel's own name, which says its package and version. Raises ConfigError
        ``image.bad_wheel``.
        """
        self.path = path
        self.filename = filename
        self._digests: Mapping[str, tuple[str, str]] = {}
        with blamed(filename), self._opened() as file:
            self.entries = read_directory(file, os.fstat(file).st_size)
        by_name = {entry.name: entry for entry in self.entries}
        with blamed(filename):
            self.metadata: Metadata = read_metadata(filename, by_name, self._text)
        self._digests = self.metadata.digests

    def copy(self, entry: Entry, unpacked: Sink, packed: Sink | None = None) -> None:
        """Hand over a file's bytes piece by piece, and its bytes as they lie in the wheel.

        The last check comes after the last piece: what was handed over counts only where this returns.
        Raises ConfigError ``image.bad_wheel`` where the bytes are not those that the directory and RECORD promise.
        """
        with blamed(self.filename), self._opened() as file:
            pieces = _packed(file, entry, packed)
            self._check(entry, _inflated(entry, pieces) if entry.method == DEFLATED else pieces, unpacked)

    def read(self, entry: Entry) -> bytes:
        """Return a file's bytes, of which there may be 32 MiB. Raises ConfigError ``image.bad_wheel``."""
        with blamed(self.filename):
            if entry.size > _MOST_TEXT:
                raise Problem(f"it is larger than {_MOST_TEXT >> 20} MiB", entry.name)
        pieces: list[bytes] = []
        self.copy(entry, pieces.append)
        return b"".join(pieces)

    def python_scripts(self) -> dict[str, bytes]:
        """Return the scripts that begin with ``#!python``, which stands for the environment's interpreter.

        Raises ConfigError ``image.bad_wheel``.
        """
        folder = scripts_folder(self.metadata)
        scripts = [entry for entry in self.entries if entry.name.startswith(folder)]
        return {entry.name: self.read(entry) for entry in scripts if self._begins_as_script(entry)}

    def _begins_as_script(self, entry: Entry) -> bool:
        """Tell from a file's first bytes, which are not checked yet."""
        with blamed(self.filename), self._opened() as file:
            data = read_at(file, entry.start, min(entry.packed, 1024))
        if entry.method == DEFLATED:
            with suppress(zlib.error):  # who copies the file will say so
                data = zlib.decompressobj(-15).decompress(data, len(_SCRIPT))
        return data.startswith(_SCRIPT)

    def _text(self, entry: Entry) -> str:
        try:
            return self.read(entry).decode()
        except UnicodeDecodeError:
            raise Problem("it is not UTF-8", entry.name) from None

    def _check(self, entry: Entry, pieces: Iterator[bytes], sink: Sink) -> None:
        promised = self._digests.get(entry.name)
        digest = hashlib.new(promised[0]) if promised else None
        crc = size = 0
        for piece in pieces:
            size += len(piece)
            crc = zlib.crc32(piece, crc)
            if digest:
                digest.update(piece)
            sink(piece)
        if size != entry.size:
            raise Problem(f"it has {size} bytes; {entry.size} were promised", entry.name)
        if crc != entry.crc:
            raise Problem("its CRC is wrong", entry.name)
        if promised and digest and encoded(digest.digest()) != promised[1]:
            raise Problem("its content does not have the digest that RECORD gives", entry.name)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Problem(f"it cannot be read: {error.strerror}") from None
        try:
            yield file
        finally:
            os.close(file)


def _packed(file: int, entry: Entry, sink: Sink | None) -> Iterator[bytes]:
    for done in range(0, entry.packed, _READ):
        piece = read_at(file, entry.start + done, min(_READ, entry.packed - done))
        if sink:
            sink(piece)
        yield piece


def _inflated(entry: Entry, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate, a bounded piece at a time, no further than to the promised size and one byte more."""
    stream = zlib.decompressobj(-15)
    left = entry.size + 1
    try:
        for piece in pieces:
            while not stream.eof:
                data = stream.decompress(piece, min(left, _PIECE))
                piece = stream.unconsumed_tail
                if not data and not piece:
                    break
                left -= len(data)
                if not left:
                    raise Problem(f"it unpacks to more than the {entry.size} bytes that were promised", entry.name)
                yield data
            if stream.eof:
                break
    except zlib.error as error:
        raise Problem(f"it cannot be unpacked: {error}", entry.name) from None
    if not stream.eof or stream.unused_data or next(pieces, None) is not None:
        raise Problem("its compressed data end too soon or too late", entry.name)
