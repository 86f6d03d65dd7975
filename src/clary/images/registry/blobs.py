"""Blobs: what is pushed, and how one is read from a registry, verified, and gone on with after a broken reply."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from clary.errors import ClaryError, ConfigError
from clary.images.oci import Descriptor, digest_of
from clary.images.registry import refusals
from clary.images.registry.asking import Request
from clary.images.registry.retrying import Tries
from clary.images.registry.wire import CHUNK, LONGEST_BODY, Reply, same_origin

if TYPE_CHECKING:
    from clary.images.registry.http import Http


class Source(Protocol):
    """The bytes of a blob, as files give them."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end."""

    def seek(self, offset: int, /) -> int:
        """Go to a place."""

    def close(self) -> None:
        """Be done."""


class Blob(Protocol):
    """What can be pushed; ``clary.images.building.Layer`` is one."""

    @property
    def digest(self) -> str:
        """Of the bytes, ``sha256:…``."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    def open(self) -> Source:
        """Open the bytes. Called again when an upload begins anew."""


@dataclass(frozen=True)
class Bytes:
    """A blob in memory, such as a configuration."""

    data: bytes = field(repr=False)
    name: str = "configuration"

    @cached_property
    def digest(self) -> str:
        """The digest of the bytes."""
        return digest_of(self.data)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def open(self) -> Source:
        """Open them."""
        return io.BytesIO(self.data)


def scope(repository: str, *rights: str) -> str:
    """Return the scope of a token that allows ``rights`` (``pull``, ``push``) in a repository."""
    return f"repository:{repository}:{','.join(rights)}"


def size_of(http: Http, repository: str, digest: str, *, tries: Tries | None = None) -> int | None:
    """Return the size of a blob in bytes; None where the registry does not have it."""
    request = Request("HEAD", http.url(f"{repository}/blobs/{digest}"), repository, (scope(repository, "pull"),))
    answer = http.ask(request, 200, 403, 404, 405, tries=tries)
    if answer.status in (403, 405) and same_origin(answer.url, http.origin):
        raise refusals.told(refusals.Refusal.of(request, answer))
    if answer.status != 200:
        return None  # also where HEAD was sent on to a store whose address is signed for GET alone
    try:
        return int(answer.headers["Content-Length"])
    except (KeyError, ValueError):
        raise refusals.bad_reply(http.host, "it does not tell the size of a blob") from None


@contextmanager
def reading(http: Http, repository: str, digest: str, size: int, *, start: int = 0) -> Iterator[Iterator[bytes]]:
    """Give a blob's bytes from ``start`` on, in chunks of at most 128 KiB.

    After a reply that breaks off, the rest is asked for. Of what is read from its beginning the digest is verified
    before the last chunk is given: else AwsError ``registry.wrong_digest``. Raises NotFoundError
    ``registry.not_found``.
    """
    chunks = _chunks(http, repository, digest, size, start)
    try:
        yield chunks
    finally:
        chunks.close()


def read_whole(http: Http, repository: str, descriptor: Descriptor) -> bytes:
    """Return a small blob, such as a configuration, verified. Raises as ``reading`` does."""
    if descriptor.size > LONGEST_BODY:
        raise refusals.bad_reply(http.host, f"a configuration of {descriptor.size} bytes")
    tries = Tries(http.patience)
    while True:
        try:
            with reading(http, repository, descriptor.digest, descriptor.size) as chunks:
                return b"".join(chunks)
        except ClaryError as error:
            if error.code != "registry.wrong_digest":
                raise  # has been tried again already
            tries.met(error)


def _chunks(http: Http, repository: str, digest: str, size: int, start: int) -> Generator[bytes, None, None]:
    url, subject = http.url(f"{repository}/blobs/{digest}"), f"{repository}@{digest}"
    seen, position = hashlib.sha256(), start
    tries = Tries(http.patience)
    while True:
        ranged = {"Range": f"bytes={position}-"} if position else {}
        request = Request("GET", url, subject, (scope(repository, "pull"),), ranged)
        began = position
        try:
            with http.opened(request, 200, 206) as reply:
                for chunk in _from(reply, position):
                    position += len(chunk)
                    if position > size:
                        raise refusals.wrong_digest(http.host, subject, f"it is larger than {size} bytes")
                    seen.update(chunk)
                    if position == size and start == 0 and f"sha256:{seen.hexdigest()}" != digest:
                        raise refusals.wrong_digest(http.host, subject, "its bytes are others")
                    yield chunk
            break
        except ClaryError as error:
            if error.code == "registry.wrong_digest":
                raise
            if position == size:
                break  # nothing was lost but the connection
            if position > began:
                tries.progressed()
            tries.met(error)
    if position != size:
        raise refusals.wrong_digest(http.host, subject, f"it has {position} bytes, not {size}")


def _from(reply: Reply, position: int) -> Iterator[bytes]:
    """Yield what comes from ``position`` on; a registry that knows no ranges sends everything again."""
    skipped = 0
    if reply.status == 200:
        skipped = position
    elif not reply.response.headers.get("Content-Range", "").startswith(f"bytes {position}-"):
        raise refusals.bad_reply(refusals.host_of(reply.url), "it answers with another range than was asked for")
    for chunk in reply.response.stream(CHUNK, decode_content=False):
        kept = chunk[skipped:]
        skipped -= len(chunk) - len(kept)
        if kept:
            yield kept


@dataclass(frozen=True)
class RemoteBlob:
    """A blob in a registry, which can be pushed to another one: it is read while it is sent."""

    http: Http = field(repr=False)
    repository: str
    descriptor: Descriptor
    name: str

    @property
    def digest(self) -> str:
        """Of the bytes."""
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """Bytes."""
        return self.descriptor.size

    def open(self) -> Source:
        """Open the bytes; nothing is asked for until they are read."""
        return _RemoteSource(self)


class _RemoteSource:
    def __init__(self, blob: RemoteBlob) -> None:
        self._blob = blob
        self._chunks: Generator[bytes, None, None] | None = None
        self._start = 0
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        if self._chunks is None:
            blob = self._blob
            self._chunks = _chunks(blob.http, blob.repository, blob.digest, blob.size, self._start)
        if not self._rest:
            self._rest = next(self._chunks, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def seek(self, offset: int, /) -> int:
        self.close()
        self._start, self._rest = offset, b""
        return offset

    def close(self) -> None:
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None


def changed(blob: Blob, problem: str) -> ClaryError:
    """Return the error for a blob that is not what it was when its digest was taken."""
    return ConfigError(
        "image.layer_changed",
        f"The layer {blob.name!r} cannot be pushed: {problem}.",
        next_step="Remove damaged layers by `clary image cache prune --verify`, and build the image again.",
        details={"digest": blob.digest},
    )
