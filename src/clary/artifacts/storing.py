"""Content into the store and out of it: named by its digest, checked on the way, told while it goes on."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import tempfile
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clary.artifacts.content import Chunk, disk_watched
from clary.errors import JournalError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from clary.artifacts.content import Content
    from clary.objects import ObjectStore

BIG = 8 << 20
"""Bytes from which on an upload is worth a question first: what is there already is not sent again."""
TOLD = 32 << 20
"""Bytes from which on somebody is told how far it is."""
_progress: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("clary_progress", default=None)


@contextmanager
def progress_to(tell: Callable[[str, int, int], None]) -> Iterator[None]:
    """Have ``tell(what, done, all)``, in bytes, called while values over 32 MiB are stored or read in this context.

    ``what`` is ``stored`` or ``read``.
    """
    token = _progress.set(tell)
    try:
        yield
    finally:
        _progress.reset(token)


def keep(content: Content, store: ObjectStore, inline_limit: int) -> dict[str, Any]:
    """Return where the content is kept: ``b`` inline up to ``inline_limit`` bytes, else ``at`` and ``n`` of an object.

    Raises SerializationError (``value.changed``) where the bytes change while they are stored, and what the store does.
    """
    size = content.size
    if size <= inline_limit and inline_limit:
        return {"b": base64.b64encode(b"".join(content.chunks())).decode()}
    name = _digest(content)
    key = f"values/{name}"
    if size <= BIG:
        store.put(key, b"".join(content.chunks()))  # not create(): S3 may answer 409 when nothing at all was stored
    elif store.size(key) != size:
        store.put_stream(key, lambda: _told("stored", _checked(content.chunks(), name, size, _changed), size), size)
    return {"at": key, "n": size}


def address(kept: dict[str, Any]) -> str:
    """Return the digest of the bytes of what is kept, inline or not."""
    if "at" in kept:
        return str(kept["at"]).rpartition("/")[2]
    return hashlib.sha256(base64.b64decode(kept["b"])).hexdigest()


class Source:
    """The bytes of a kept value. What is read is checked against its digest before anybody trusts it."""

    def __init__(self, kept: dict[str, Any], store: ObjectStore) -> None:
        self.kept, self.store = kept, store

    @property
    def size(self) -> int:
        """How many bytes, as the record says."""
        return int(self.kept["n"]) if "at" in self.kept else len(self.kept["b"]) * 3 // 4

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the bytes. Whether they are the right ones is known at the end: then ``value.unreadable`` is raised.

        Raises JournalError (``value.missing``) when the object is gone.
        """
        if "b" in self.kept:
            yield base64.b64decode(self.kept["b"])
            return
        key, size = self.kept["at"], int(self.kept["n"])
        if size <= BIG:
            found = self._whole(key)
        else:
            found = self.store.get_stream(key)
        if found is None:
            raise JournalError(
                "value.missing",
                f"The kept value {self.store.url(key)} is gone.",
                next_step="Restore the object, or let the call run again (--on-change rerun).",
            )
        with contextlib.closing(found):
            yield from _told("read", _checked(found, address(self.kept), size, self._damaged), size)

    def all(self) -> bytes:
        """Return all of them; one copy, also while they arrive."""
        chunks = self.chunks()
        first = next(chunks, b"")
        if len(first) == self.size and isinstance(first, bytes):
            next(chunks, None)  # the check
            return first
        whole = io.BytesIO()  # hands its buffer over without a copy
        whole.write(first)
        for chunk in chunks:
            whole.write(chunk)
        return whole.getvalue()

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Give the bytes, checked, as an open file: in memory while they are few, else on disk."""
        with tempfile.SpooledTemporaryFile(max_size=BIG, prefix="clary-") as file:
            with disk_watched():
                for chunk in self.chunks():
                    file.write(chunk)
            file.seek(0)
            yield file

    def save(self, path: Path) -> None:
        """Write the bytes, checked, to a new file; nothing is left of it when they are not the right ones."""
        try:
            with disk_watched(str(path.parent)), path.open("xb") as file:
                for chunk in self.chunks():
                    file.write(chunk)
        except FileExistsError:
            raise
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _whole(self, key: str) -> Generator[Chunk, None, None] | None:
        data = self.store.get(key)
        return None if data is None else (chunk for chunk in (data,))

    def _damaged(self) -> SerializationError:
        return SerializationError(
            "value.unreadable",
            f"The kept value {self.store.url(self.kept['at'])} is damaged: its digest does not fit.",
            next_step="Restore the object, or let the call run again (--on-change rerun).",
        )


class Reader(io.RawIOBase):
    """Chunks as a file to read from: exactly as many bytes as asked for, while there are any."""

    def __init__(self, chunks: Generator[Chunk, None, None]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; returns how much of it could be filled."""
        target = memoryview(buffer).cast("B")
        done = 0
        while done < target.nbytes:
            if not self._rest.nbytes:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
                continue
            part = self._rest[: target.nbytes - done]
            target[done : done + part.nbytes] = part
            self._rest = self._rest[part.nbytes :]
            done += part.nbytes
        return done

    def close(self) -> None:
        """Read no more."""
        self._chunks.close()
        super().close()

    def finish(self) -> None:
        """See the end; raises ValueError where more than was read is there, and what the check at the end raises."""
        if self._rest.nbytes or any(len(chunk) for chunk in self._chunks):
            raise ValueError("there is more than was expected")


def _digest(content: Content) -> str:
    hashed = hashlib.sha256()
    for chunk in content.chunks():
        hashed.update(chunk)
    return hashed.hexdigest()


def _checked(
    chunks: Iterator[Chunk], digest: str, size: int, wrong: Callable[[], SerializationError]
) -> Iterator[Chunk]:
    """Pass chunks on; the last one only when all together have that digest."""
    hashed, done = hashlib.sha256(), 0
    for chunk in chunks:
        hashed.update(chunk)
        done += len(chunk)
        if done >= size:
            break
        yield chunk
    if done != size or hashed.hexdigest() != digest or any(len(more) for more in chunks):
        raise wrong()
    if size:
        yield chunk


def _changed() -> SerializationError:
    return SerializationError(
        "value.changed",
        "The value was changed while it was being stored.",
        next_step="Let nothing write to it any more when it is returned or saved.",
    )


def _told(what: str, chunks: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    tell = _progress.get()
    if tell is None or size < TOLD:
        yield from chunks
        return
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        tell(what, done, size)
