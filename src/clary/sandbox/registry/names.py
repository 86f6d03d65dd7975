"""How images are named: registries by account and region, repositories, tags, digests, and the types of manifests.

Sources: the OCI distribution specification 1.1; Amazon ECR's API reference and its service quotas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST_LAYER = 52_000 * 1024 * 1024
"""Bytes of one layer."""
LARGEST_MANIFEST = 4 * 1024 * 1024
"""Bytes of a manifest."""
MOST_TAGS = 1000
"""Tags of one image."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
LISTS = (DOCKER_LIST, OCI_INDEX)
MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PART = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
REPOSITORY = rf"{_PART}(?:/{_PART})*"
_HOST = r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+"
_PLACE = re.compile(rf"{_HOST}/(?P<repository>{REPOSITORY})")
_REFERENCE = re.compile(
    rf"{_HOST}/(?P<repository>{REPOSITORY})(?::(?P<tag>{TAG.pattern}))?(?:@(?P<digest>{DIGEST.pattern}))?"
)


@dataclass(frozen=True)
class Place:
    """One repository: whose registry, where, and its name."""

    account: str
    region: str
    repository: str

    @classmethod
    def read(cls, name: str, account: str, region: str) -> Place:
        """Return the repository that a path names, in that registry.

        A name that begins with the host of another registry, such as
        ``763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training``, is one of that registry.
        """
        other = _PLACE.fullmatch(name)
        if other is not None:
            return cls(other["account"], other["region"], other["repository"])
        return cls(account, region, name)

    @property
    def key(self) -> str:
        """The repository in one text."""
        return f"{self.account}/{self.region}/{self.repository}"

    @classmethod
    def of_key(cls, key: str) -> Place:
        """Return the repository of such a text."""
        return cls(*key.split("/", 2))

    def beside(self, repository: str) -> Place:
        """Return another repository of the same registry."""
        return Place.read(repository, self.account, self.region)


@dataclass(frozen=True)
class Named:
    """An image of a repository: its digest where one is given, else its tag."""

    place: Place
    tag: str | None
    digest: str | None

    @classmethod
    def read(cls, reference: str) -> Named | None:
        """Return what a reference names; None for one that is not of ECR."""
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            return None
        place = Place(found["account"], found["region"], found["repository"])
        return cls(place, found["tag"], found["digest"])

    @property
    def pointer(self) -> str:
        """What is asked for in the repository."""
        return self.digest or self.tag or "latest"
