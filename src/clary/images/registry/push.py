"""A whole image into a registry: its blobs side by side, then its manifest, then its tags."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clary.images.oci import digest_of, read_manifest
from clary.images.registry.blobs import Blob, RemoteBlob
from clary.images.registry.uploads import Outcome
from clary.images.together import together

if TYPE_CHECKING:
    from clary.images.building import Progress
    from clary.images.registry.client import Registry

AT_ONCE = 4
"""Blobs under way at once: measured on loopback, more bring nothing."""


@dataclass(frozen=True)
class Pushed:
    """An image that is in its registry."""

    digest: str
    """Of its manifest."""
    size: int
    """Bytes that a pull moves."""
    outcomes: Mapping[str, Outcome]
    """What became of each blob, by digest; empty where the whole image was there already."""
    uploaded: int
    """Bytes of blobs that were sent."""


def push_image(
    registry: Registry,
    repository: str,
    manifest: bytes,
    blobs: Sequence[Blob],
    *,
    tags: Sequence[str] = (),
    mount_from: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
    at_once: int = AT_ONCE,
) -> Pushed:
    """Push an image.

    Args:
        registry: where it goes.
        repository: in that registry; it is made if that can be done.
        manifest: the bytes that are the image's identity.
        blobs: all that the manifest names: files, ``Bytes``, and blobs of registries, which are streamed through.
        tags: what points to it afterwards.
        mount_from: repositories of the same registry that may lend a blob, by digest. Those of registry blobs are
            known without.
        progress: who is told of the bytes.
        at_once: blobs under way at once.

    Raises what ``Registry`` raises; then nothing points to the image, and what was sent already is not sent again.
    """
    described = read_manifest(manifest)
    outcomes: dict[str, Outcome] = {}
    if registry.digest(repository, described.digest) is None:  # a manifest that is there has all its blobs
        wanted = {blob.digest: blob for blob in blobs}
        sources = {digest: _lenders(registry, blob, mount_from or {}) for digest, blob in wanted.items()}
        outcomes = _push_all(registry, repository, list(wanted.values()), sources, progress, at_once)
        registry.put_manifest(repository, described.digest, manifest, described.media_type)
    for tag in tags:
        registry.put_manifest(repository, tag, manifest, described.media_type)
    uploaded = sum(blob.size for blob in {one.digest: one for one in blobs}.values() if _sent(outcomes, blob))
    return Pushed(digest_of(manifest), described.size, outcomes, uploaded)


def _sent(outcomes: Mapping[str, Outcome], blob: Blob) -> bool:
    return outcomes.get(blob.digest) is Outcome.UPLOADED


def _lenders(registry: Registry, blob: Blob, named: Mapping[str, Sequence[str]]) -> Sequence[str]:
    own = (blob.repository,) if isinstance(blob, RemoteBlob) and blob.http is registry.http else ()
    return tuple(dict.fromkeys((*own, *named.get(blob.digest, ()))))


def _push_all(
    registry: Registry,
    repository: str,
    blobs: Sequence[Blob],
    sources: Mapping[str, Sequence[str]],
    progress: Progress | None,
    at_once: int,
) -> dict[str, Outcome]:
    """Push blobs side by side, the largest first. The first failure ends the others at their next chunk."""
    stop = threading.Event()

    def push(blob: Blob) -> Outcome:
        return registry.push_blob(repository, blob, mount_from=sources[blob.digest], progress=progress, stop=stop)

    ordered = sorted(blobs, key=lambda blob: blob.size, reverse=True)
    outcomes = together([partial(push, blob) for blob in ordered], at_once, stop.set)
    return {blob.digest: outcome for blob, outcome in zip(ordered, outcomes, strict=True)}
