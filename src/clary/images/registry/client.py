"""``Registry``: what can be done with one registry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from clary.errors import NotFoundError
from clary.images.oci import Config, read_config
from clary.images.platforms import AMD64
from clary.images.registry import blobs, manifests
from clary.images.registry.blobs import Blob, RemoteBlob
from clary.images.registry.uploads import Outcome, Upload

if TYPE_CHECKING:
    from clary.images.building import Progress
    from clary.images.oci import Descriptor
    from clary.images.platforms import Platform
    from clary.images.registry.http import Http
    from clary.images.registry.manifests import Found


class Registry:
    """One registry. Safe from any thread.

    Every method raises AwsError and its kin with a code ``registry.…`` for what the registry, or the way to it,
    refuses; what may pass has been tried again before.
    """

    def __init__(self, http: Http, *, resumes: bool = True, create: Callable[[str], object] | None = None) -> None:
        """Note whom to talk to.

        Args:
            http: the registry's address and sign-in.
            resumes: whether it can go on with a broken upload.
            create: makes a repository, where the registry does not do so by itself.
        """
        self.http = http
        self._resumes = resumes
        self._create = create

    @property
    def host(self) -> str:
        """Host and port that are called."""
        return self.http.host

    def close(self) -> None:
        """Close the connections that are idle; a later request opens new ones."""
        self.http.close()

    def make(self, repository: str) -> None:
        """Make a repository where the registry does not do so by itself; nothing happens where it is there."""
        if self._create is not None:
            self._create(repository)

    def manifest(self, repository: str, pointer: str, *, platform: Platform = AMD64) -> Found | None:
        """Return the manifest that a tag or digest names; of a list, the one for ``platform``. None: there is none.

        Raises ConfigError ``image.no_such_platform``, ``image.bad_manifest``; AwsError ``registry.wrong_digest``.
        """
        return manifests.find(self.http, repository, pointer, platform)

    def digest(self, repository: str, pointer: str) -> str | None:
        """Return the digest that a tag has now, of a list where it names one; None where there is none. One HEAD."""
        return manifests.digest(self.http, repository, pointer)

    def config(self, repository: str, descriptor: Descriptor) -> Config:
        """Return the configuration that a manifest names. Raises ConfigError ``image.bad_manifest``."""
        return read_config(blobs.read_whole(self.http, repository, descriptor))

    def has_blob(self, repository: str, digest: str) -> int | None:
        """Return the size of a blob in bytes; None where the repository does not have it."""
        return blobs.size_of(self.http, repository, digest)

    def read_blob(
        self, repository: str, digest: str, size: int, *, start: int = 0
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Give a blob's bytes from ``start`` on, in chunks. See ``blobs.reading``."""
        return blobs.reading(self.http, repository, digest, size, start=start)

    def blob(self, repository: str, descriptor: Descriptor, name: str) -> RemoteBlob:
        """Return a blob of this registry as one that can be pushed. Nothing is called."""
        return RemoteBlob(self.http, repository, descriptor, name)

    def push_blob(
        self,
        repository: str,
        blob: Blob,
        *,
        mount_from: Sequence[str] = (),
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """Bring a blob into a repository, which is made if it is not there and can be.

        Args:
            repository: where it goes.
            blob: what is pushed; a configuration in memory is ``blobs.Bytes``.
            mount_from: repositories of the same registry that may have it.
            progress: who is told of the bytes.
            stop: gives it up when it is set (``retrying.Abandoned`` is raised).

        Raises ConfigError ``image.layer_changed`` for a file that is not what its digest says.
        """
        upload = Upload(self.http, repository, blob, resumes=self._resumes, progress=progress, stop=stop)
        try:
            return upload.run(mount_from)
        except NotFoundError as error:
            if error.code != "registry.unknown_repository" or self._create is None:
                raise
        self._create(repository)
        return upload.run(mount_from)

    def put_manifest(self, repository: str, pointer: str, data: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest, as these very bytes, and return its digest.

        Raises ConflictError ``registry.tag_immutable`` where the tag has another image and may not be moved.
        """
        return manifests.put(self.http, repository, pointer, data, media_type)

    def tags(self, repository: str) -> list[str]:
        """Return the repository's tags, as the registry orders them; none where there is no repository."""
        return manifests.tags(self.http, repository)
