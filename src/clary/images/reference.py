"""The names of images: ``host/repository:tag@digest``, in the form that Docker gave them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from clary.errors import ConfigError

DOCKER_HUB = "registry-1.docker.io"
"""The host that serves what ``docker.io`` names. Source: the Distribution project's documentation."""

_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(?=:\d))(?::\d{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""Source: the grammar in the Distribution project's reference package."""
_LONGEST_REPOSITORY = 255


@dataclass(frozen=True)
class Reference:
    """The name of an image: where it lies, and which of those that lie there."""

    host: str
    """Host and port of the registry, as a client calls it."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, field: str = "image") -> Reference:
        """Return the reference that ``text`` is; Docker Hub's short names are written out.

        ``field`` is where the text stands. Raises ConfigError ``image.bad_reference``.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None or len(found["repository"]) > _LONGEST_REPOSITORY:
            raise ConfigError(
                "image.bad_reference",
                f"{text!r} is not the name of an image.",
                next_step="Write it as host/repository:tag or host/repository@sha256:…, for example "
                "public.ecr.aws/docker/library/python:3.12-slim.",
                field=field,
            )
        host, repository = found["host"], found["repository"]
        if host in (None, "docker.io", "index.docker.io"):
            host = DOCKER_HUB
            repository = repository if "/" in repository else f"library/{repository}"
        return cls(host, repository, found["tag"], found["digest"])

    @property
    def pointer(self) -> str:
        """What the registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        """Return the reference of exactly the image with this digest."""
        return replace(self, tag=None, digest=digest)

    def tagged(self, tag: str) -> Reference:
        """Return the reference of what carries ``tag`` in the same repository."""
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"
