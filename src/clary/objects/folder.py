"""Objects in a folder of this machine."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clary.errors import JournalError, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_CHUNK = 4 << 20


class FolderStore:
    """Objects as files under one folder; a key is the relative path. Files appear whole or not at all."""

    immediate = True

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._base = Path(self.root)

    def get(self, key: str) -> bytes | None:
        """Return the object's bytes, or None when there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None when there is none."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Store the object, replacing what was there."""
        with self._arriving(key) as (file, arrived):
            file.write(data)
            file.close()
            arrived.replace(self._path(key))

    def create(self, key: str, data: bytes) -> bool:
        """Store the object if the key is free, and tell whether this call did so."""
        with self._arriving(key) as (file, arrived):
            file.write(data)
            file.close()
            try:
                os.link(arrived, self._path(key))
            except FileExistsError:
                return False
            return True

    def put_stream(self, key: str, chunks: Callable[[], Iterable[bytes | memoryview]], size: int) -> None:  # noqa: ARG002 - S3 asks for it
        """Store what the chunks are together."""
        with self._arriving(key) as (file, arrived):
            for chunk in chunks():
                file.write(chunk)
            file.close()
            arrived.replace(self._path(key))

    def get_stream(self, key: str) -> Generator[bytes | memoryview, None, None] | None:
        """Return the object's bytes in chunks, or None when there is none."""
        try:
            file = self._path(key).open("rb", buffering=0)
        except FileNotFoundError:
            return None
        return _chunks(file)

    def put_file(self, key: str, path: Path) -> None:
        """Store a copy of a file."""
        with path.open("rb") as source, self._arriving(key) as (file, arrived):
            shutil.copyfileobj(source, file, 1 << 20)
            file.close()
            arrived.replace(self._path(key))

    def get_file(self, key: str, path: Path) -> bool:
        """Write the object to ``path``; False when there is none."""
        if self.size(key) is None:
            return False
        arriving = path.with_name(path.name + ".part")
        shutil.copyfile(self._path(key), arriving)
        arriving.replace(path)
        return True

    def delete(self, key: str) -> None:
        """Take the object away; nothing happens where there is none."""
        self._path(key).unlink(missing_ok=True)

    def keys(self, prefix: str, *, after: str | None = None) -> Iterator[str]:
        """Yield keys under the folder ``prefix`` in order; only those that sort behind the key ``after``."""
        top = self._path(prefix)
        found = sorted(
            path.relative_to(self._base).as_posix()
            for path in (top.rglob("*") if top.is_dir() else ())
            if path.is_file() and not path.name.startswith(".arriving-")
        )
        yield from (key for key in found if after is None or key > after)

    def folders(self, prefix: str) -> list[str]:
        """Return the names directly under the folder ``prefix`` that have objects below them, in order."""
        top = self._path(prefix)
        return sorted(path.name for path in top.iterdir() if path.is_dir()) if top.is_dir() else []

    def url(self, key: str) -> str:
        """Return the object's path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if key.startswith("/") or ".." in parts:
            raise ValueError(f"not a key: {key!r}")
        return self._base.joinpath(*parts)

    @contextmanager
    def _arriving(self, key: str) -> Iterator[tuple[IO[bytes], Path]]:
        folder = self._path(key).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".arriving-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file, Path(name)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise JournalError(
                "files.no_space",
                f"There is no room in {self.root} for what the run keeps.",
                next_step="Make room there, then resume the run: what is recorded does not run again.",
                retry=Retry.NO,
            ) from error
        finally:
            Path(name).unlink(missing_ok=True)


def _chunks(file: IO[bytes]) -> Generator[bytes | memoryview, None, None]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
