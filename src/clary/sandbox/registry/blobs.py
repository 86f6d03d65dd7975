"""Blobs on disk: files named by their digest, and what is on its way to become one."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 1 << 20
_STRIPES = 64
KEPT_SECONDS = 86_400.0
"""How long an upload that nobody goes on with is kept."""


class Blobs:
    """The folder of blobs and uploads. A blob's file is complete and verified, or not there. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._uploads = folder / "uploads"
        self._arriving = folder / "arriving"
        for one in (self._blobs, self._uploads, self._arriving):
            one.mkdir(parents=True, exist_ok=True)
        for left in self._arriving.iterdir():
            left.unlink()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def path(self, digest: str) -> Path:
        """Return where the blob is, or would be."""
        name = digest.removeprefix("sha256:")
        return self._blobs / name[:2] / name

    def keep(self, source: Path, digest: str) -> None:
        """Move a file, whose digest has been verified, to the blobs."""
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        source.replace(target)

    def remove(self, digest: str) -> None:
        """Remove a blob; who reads it goes on reading."""
        self.path(digest).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> None:
        """Remove the blobs that are not known, and uploads that nobody goes on with."""
        for file in self._blobs.glob("*/*"):
            if f"sha256:{file.name}" not in known:
                file.unlink(missing_ok=True)
        self.sweep_uploads()

    def sweep_uploads(self) -> None:
        """Remove the uploads that nobody has gone on with for a day."""
        before = time.time() - KEPT_SECONDS
        for file in self._uploads.iterdir():
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    file.unlink()

    # -- uploads

    def arriving(self) -> Path:
        """Return the path of a new file for the body of a request."""
        return self._arriving / uuid.uuid4().hex

    def begin(self, owner: str) -> str:
        """Begin an upload of that repository and return its id."""
        identity = str(uuid.uuid4())
        self._upload(owner, identity).touch(mode=0o600)
        return identity

    @contextmanager
    def upload(self, owner: str, identity: str) -> Iterator[Upload | None]:
        """Hold an upload, alone; None when the repository has none of that id."""
        path = self._upload(owner, identity)
        with self._locks[zlib.crc32(identity.encode()) % _STRIPES]:
            yield Upload(path) if path.is_file() else None

    def _upload(self, owner: str, identity: str) -> Path:
        return self._uploads / digest_of(f"{owner}\n{identity}".encode()).removeprefix("sha256:")


class Upload:
    """The bytes of a blob that have arrived so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size

    def append(self, part: Path | bytes) -> None:
        """Add bytes at the end; a file is used up."""
        if isinstance(part, bytes):
            with self.path.open("ab") as file:
                file.write(part)
        elif self.size == 0:
            part.replace(self.path)
        else:
            with part.open("rb") as source, self.path.open("ab") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            part.unlink()

    def digest(self) -> str:
        """Return the digest of what there is."""
        return digest_of_file(self.path)

    def drop(self) -> None:
        """Give the upload up."""
        self.path.unlink(missing_ok=True)


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chunks(path: Path, start: int, size: int) -> Iterable[bytes]:
    """Yield a part of a file."""
    with path.open("rb") as file:
        os.lseek(file.fileno(), start, os.SEEK_SET)
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk
