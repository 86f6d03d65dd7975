"""Objects under one root: a bucket's prefix, or a folder. The only way Clary's rooms reach S3 data.

Runs inside the job: standard library, and ``obstore`` where the root is in S3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from clary.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from pathlib import Path


class ObjectStore(Protocol):
    """Objects under one root. Keys are relative, ``/``-separated; every call is safe from any thread."""

    root: str
    """``s3://bucket/prefix`` or an absolute folder, without a trailing slash."""
    immediate: bool
    """Whether a call takes microseconds (a folder) and needs no thread of its own in an event loop."""

    def get(self, key: str) -> bytes | None:
        """Return the object's bytes, or None when there is none."""

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None when there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Store the object, replacing what was there."""

    def create(self, key: str, data: bytes) -> bool:
        """Store the object if the key is free, and tell whether this call is known to have done so.

        False is not proof that somebody else did: the reply of an earlier try may have been lost after the store, and
        S3 answers 409 when nothing at all was stored. Whoever needs to know reads the key.
        """

    def put_stream(self, key: str, chunks: Callable[[], Iterable[bytes | memoryview]], size: int) -> None:
        """Store what the chunks are together, ``size`` bytes, without holding more of it than a few of them.

        ``chunks`` is called anew for every try. What it raises ends the upload, and nothing is stored.
        """

    def get_stream(self, key: str) -> Generator[bytes | memoryview, None, None] | None:
        """Return the object's bytes in chunks of a few megabytes, or None when there is none."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file, streamed."""

    def get_file(self, key: str, path: Path) -> bool:
        """Write the object to ``path`` (replaced at once, at the end), streamed; False when there is none."""

    def delete(self, key: str) -> None:
        """Take the object away; nothing happens where there is none."""

    def keys(self, prefix: str, *, after: str | None = None) -> Iterator[str]:
        """Yield keys under the folder ``prefix`` in order; only those that sort behind the key ``after``."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names directly under the folder ``prefix`` that have objects below them, in order."""

    def url(self, key: str) -> str:
        """Return where the object lies, for a person."""


class Credentials(Protocol):
    """What gives an object store keys to sign with. It is asked often, from any thread."""

    def __call__(self) -> Mapping[str, object]:
        """Return ``access_key_id``, ``secret_access_key``, ``token`` and ``expires_at`` (a datetime, or None)."""

    def renew(self) -> None:
        """Look for keys anew, since S3 does not take these any more."""


def open_store(
    root: str,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    credentials: Credentials | None = None,
    patience: float = 0.0,
) -> ObjectStore:
    """Open the objects under ``root``.

    Args:
        root: ``s3://bucket[/prefix]``, or an absolute folder.
        region: of the bucket.
        endpoint: the S3 endpoint's URL, as botocore resolves it; None lets the client derive it from the region.
        credentials: None uses the environment's, or the container's role.
        patience: seconds for which a read is tried again while S3 does not answer. A person wants to hear of it soon; a
            job has nothing else to do. Writes are always tried again for some minutes.
    """
    if root.startswith("s3://"):
        from clary.objects.s3 import S3Store

        return S3Store(root, region=region, endpoint=endpoint, credentials=credentials, patience=patience)
    if root.startswith("/"):
        from clary.objects.folder import FolderStore

        return FolderStore(root)
    raise UsageError(
        "store.unknown_scheme",
        f"“{root}” is no place for artifacts.",
        next_step="Give s3://bucket/prefix, or an absolute folder.",
        field="artifact_store",
    )
