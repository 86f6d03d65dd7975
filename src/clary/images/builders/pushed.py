"""Whether an image that another program pushed is in its registry, and of the type that SageMaker takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clary.errors import AwsError, ConfigError, Retry
from clary.images.building import Built
from clary.images.oci import DOCKER_MANIFEST

if TYPE_CHECKING:
    from clary.images.reference import Reference
    from clary.images.registry.client import Registry

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def verified(target: Reference, told: str, registry: Registry) -> Built:
    """Return the image that was pushed to ``target`` under the digest that the builder told.

    Raises AwsError ``image.not_pushed`` where the registry has something else, ConfigError ``image.wrong_manifest`` for
    a list of images or a type that is not Docker's.
    """
    kept = registry.digest(target.repository, target.pointer)
    found = registry.manifest(target.repository, told) if told and kept == told else None
    if found is None:
        raise AwsError(
            "image.not_pushed",
            f"The builder pushed {told or 'nothing that it told'}, and {target} is {kept or 'not in the registry'}.",
            next_step="Build again; if somebody else pushes this tag too, give each a repository of their own.",
            retry=Retry.YES,
            details={"told": told, "found": kept},
        )
    if found.manifest.digest != told or found.manifest.media_type != DOCKER_MANIFEST:
        raise ConfigError(
            "image.wrong_manifest",
            f"{target} was pushed as an OCI image or a list of images, which SageMaker does not take everywhere.",
            next_step="Update Docker's buildx or the Kaniko executor, or use the builder layers.",
            field="image.builder",
        )
    return Built(target.at(told), found.manifest.size, uploaded=None)


def digest_in(text: str) -> str:
    """Return the last digest that a text names; empty where it names none."""
    found = _DIGEST.findall(text)
    return str(found[-1]) if found else ""
