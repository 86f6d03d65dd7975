"""An image from one registry to another, blob by blob, through this machine's memory but never held in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clary.errors import NotFoundError
from clary.images.platforms import AMD64
from clary.images.registry.push import AT_ONCE, Pushed, push_image

if TYPE_CHECKING:
    from clary.images.building import Progress
    from clary.images.platforms import Platform
    from clary.images.reference import Reference
    from clary.images.registry.client import Registry


def copy_image(
    source: Registry,
    image: Reference,
    target: Registry,
    repository: str,
    *,
    platform: Platform = AMD64,
    tags: Sequence[str] = (),
    progress: Progress | None = None,
    at_once: int = AT_ONCE,
) -> Pushed:
    """Copy an image, manifest and all, exactly as it is. What the target has already is not read.

    A copy that was broken off is begun again and goes on behind the last whole blob; within one run, a blob goes on
    behind its last byte.

    Args:
        source: where ``image`` lies; the same object as ``target`` lets the registry lend the blobs.
        image: which image; of a list of platforms the one for ``platform`` is taken, and only that.
        target: where it goes.
        repository: in the target.
        platform: see ``image``.
        tags: what points to it afterwards.
        progress: who is told of the bytes.
        at_once: blobs under way at once.

    Raises NotFoundError ``registry.not_found`` where there is no such image.
    """
    found = source.manifest(image.repository, image.pointer, platform=platform)
    if found is None:
        raise NotFoundError(
            "registry.not_found",
            f"There is no image {image}.",
            next_step="Check host, repository and tag, e.g. with `skopeo list-tags docker://HOST/REPOSITORY`.",
            field="image",
        )
    layers = found.manifest.layers
    blobs = [
        source.blob(image.repository, layer, f"layer {number} of {len(layers)}")
        for number, layer in enumerate(layers, 1)
    ]
    blobs.append(source.blob(image.repository, found.manifest.config, "configuration"))
    return push_image(target, repository, found.data, blobs, tags=tags, progress=progress, at_once=at_once)
