"""The bytes of a value on their way to the store: in chunks, from memory or a file, never copied as a whole."""

from __future__ import annotations

import errno
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol, TypeAlias

from clary.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Chunk: TypeAlias = bytes | memoryview

CHUNK = 4 << 20
"""Bytes that are handled at once."""
_IN_MEMORY = 8 << 20
"""Bytes up to which a spool stays in memory."""


class Content(Protocol):
    """Bytes that can be read through more than once: to name them by their digest, and to store them."""

    @property
    def size(self) -> int:
        """How many bytes."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield the bytes in order, from the beginning."""

    def close(self) -> None:
        """Let go of what is held for them."""


class Memory:
    """Bytes that lie in memory already; they are looked at where they are."""

    def __init__(self, *buffers: bytes | bytearray | memoryview) -> None:
        self._views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]

    @property
    def size(self) -> int:
        """How many bytes."""
        return sum(view.nbytes for view in self._views)

    def chunks(self) -> Iterator[Chunk]:
        """Yield slices of what lies there."""
        for view in self._views:
            for start in range(0, view.nbytes, CHUNK):
                yield view[start : start + CHUNK]

    def close(self) -> None:
        """Let go of the buffers."""
        self._views = []


class Made:
    """Bytes that are made anew each time they are read through."""

    def __init__(self, size: int, make: Callable[[], Iterator[Chunk]]) -> None:
        self._size, self._make = size, make

    @property
    def size(self) -> int:
        """How many bytes."""
        return self._size

    def chunks(self) -> Iterator[Chunk]:
        """Make them."""
        return self._make()

    def close(self) -> None:
        """Nothing is held."""


class OfFile:
    """The bytes of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    @property
    def size(self) -> int:
        """How many bytes there were at first."""
        return self._size

    def chunks(self) -> Iterator[Chunk]:
        """Read the file."""
        with self._path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def close(self) -> None:
        """Nothing is held."""


class Spool:
    """Bytes that a library has written, in memory while they are few, else in a temporary file."""

    def __init__(self, write: Callable[[IO[bytes]], object]) -> None:
        """Have ``write`` write them; raises what it raises, SerializationError (``value.no_space``) on a full disk."""
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="clary-")  # noqa: SIM115 - closed below
        try:
            with disk_watched():
                write(self._file)
                self._file.flush()
        except BaseException:
            self._file.close()
            raise
        self._size = self._file.tell()

    @property
    def size(self) -> int:
        """How many bytes."""
        return self._size

    def chunks(self) -> Iterator[Chunk]:
        """Read what was written."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


@contextmanager
def disk_watched(place: str | None = None) -> Iterator[None]:
    """Say so where the disk of ``place``, or of temporary files, is full: raises ``value.no_space``."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = place or tempfile.gettempdir()
        raise SerializationError(
            "value.no_space",
            f"There is no room in {where} for the bytes of a value.",
            next_step="Free room there, or name another folder with TMPDIR; in a job, ask for a larger volume.",
            details={"folder": where},
        ) from error
