"""Layers that were pushed once and are mounted ever after.

Amazon ECR mounts a blob only from a repository where a manifest names it (aws/containers-roadmap#2860). So each kept
layer has an image of its own in one repository: a configuration and that layer, tagged by the key. A lifecycle policy
may take old ones away: then they are pushed again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from clary.images.oci import Changes, Config, Descriptor, config_of, manifest_of
from clary.images.platforms import AMD64
from clary.images.registry.blobs import Blob, Bytes
from clary.images.registry.push import push_image

if TYPE_CHECKING:
    from clary.images.building import Layer, Progress
    from clary.images.registry.client import Registry

_NAME = "clary.layer"
"""The label that says what is in the layer, for people."""


class Kept(NamedTuple):
    """A layer that the registry has."""

    descriptor: Descriptor
    diff_id: str


class LayerCache:
    """Kept layers in one repository of a registry, from which others of that registry mount them."""

    def __init__(self, registry: Registry, repository: str) -> None:
        """Note where; nothing is called yet."""
        self.registry = registry
        self.repository = repository

    def find(self, key: str) -> Kept | None:
        """Return the layer that was kept under a key; None where there is none. Two requests."""
        found = self.registry.manifest(self.repository, _tag(key), platform=AMD64)
        if found is None or len(found.manifest.layers) != 1:
            return None
        config = self.registry.config(self.repository, found.manifest.config)
        return Kept(found.manifest.layers[0], config.diff_ids[0]) if len(config.diff_ids) == 1 else None

    def keep(self, key: str, layer: Layer, *, progress: Progress | None = None) -> Kept:
        """Push a layer, unless it is there, so that it is found under ``key`` and can be mounted.

        Raises what ``push_image`` raises.
        """
        config = config_of(_EMPTY, [layer.diff_id], Changes(labels={_NAME: layer.name}))
        blobs: list[Blob] = [layer, Bytes(config)]
        manifest = manifest_of(config, [layer.descriptor])
        push_image(self.registry, self.repository, manifest, blobs, tags=[_tag(key)], progress=progress)
        return Kept(layer.descriptor, layer.diff_id)


_EMPTY = Config({"architecture": "amd64", "os": "linux"})


def _tag(key: str) -> str:
    """Return the tag for a key, which may be any text."""
    return f"layer-{hashlib.sha256(key.encode()).hexdigest()}"
