"""Small images for tests of the registry client, and clients that do not wait."""

from __future__ import annotations

import gzip
import hashlib
import random
from typing import TYPE_CHECKING, NamedTuple

from clary.images import oci
from clary.images.registry.blobs import Bytes
from clary.images.registry.client import Registry
from clary.images.registry.http import Http
from clary.images.registry.retrying import Patience

if TYPE_CHECKING:
    from clary.images.registry.auth import Login

QUICK = Patience(first=0.001, longest=0.01)


class SmallImage(NamedTuple):
    manifest: bytes
    blobs: list[Bytes]

    @property
    def digest(self) -> str:
        return oci.digest_of(self.manifest)


def small_image(seed: int = 0, *, layers: int = 2, size: int = 40_000) -> SmallImage:
    """Return an image whose layers hold ``size`` bytes by chance each."""
    chance = random.Random(seed)
    plain = [chance.randbytes(size) for _ in range(layers)]
    packed = [Bytes(gzip.compress(one, mtime=0), f"layer {number}") for number, one in enumerate(plain)]
    diff_ids = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in plain]
    config = oci.config_of(oci.Config({"architecture": "amd64", "os": "linux"}), diff_ids, oci.Changes())
    described = [oci.Descriptor(oci.DOCKER_LAYER, one.digest, one.size) for one in packed]
    return SmallImage(oci.manifest_of(config, described), [*packed, Bytes(config)])


class Given:
    """Logins that a test gives: each renewal takes the next."""

    def __init__(self, *logins: Login | None) -> None:
        self.logins = list(logins)
        self.renewed = 0

    def current(self) -> Login | None:
        return self.logins[0]

    def renew(self) -> Login | None:
        self.renewed += 1
        self.logins = self.logins[1:] or self.logins
        return self.logins[0]


def registry_at(
    origin: str, *logins: Login, patience: Patience = QUICK, basic: bool = False, resumes: bool = True
) -> Registry:
    """Return a client that waits next to nothing."""
    given = Given(*logins) if logins else None
    return Registry(Http(origin, given, patience=patience, basic=basic), resumes=resumes)


def check_image(registry: Registry, repository: str, image: SmallImage, pointer: str) -> None:
    """Read an image back, whole, and compare every byte."""
    found = registry.manifest(repository, pointer)
    assert found is not None
    assert found.data == image.manifest
    for blob in image.blobs:
        with registry.read_blob(repository, blob.digest, blob.size) as chunks:
            assert b"".join(chunks) == blob.data
