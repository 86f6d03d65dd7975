"""A base as its registry has it: manifest, configuration and interpreter, looked up once and remembered.

A tag's digest is remembered as a lock of packages is: an image changes when what it is made of is changed, or when
somebody asks for news (``upgrade``), not when somebody else pushes to a tag.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError, NotFoundError
from clary.files import write_whole
from clary.images import oci, scanning
from clary.images.labels import BUILDER, interpreter_of

if TYPE_CHECKING:
    from clary.images.bases import Base
    from clary.images.building import Python
    from clary.images.oci import Config, Manifest
    from clary.images.platforms import Platform
    from clary.images.reference import Reference
    from clary.images.registry.registries import Registries


@dataclass(frozen=True)
class BaseImage:
    """A base, looked up."""

    reference: Reference
    """With the digest of the manifest for the platform."""
    manifest: Manifest
    config: Config
    data: bytes
    """The manifest's bytes."""


def look_up(
    reference: Reference, platform: Platform, registries: Registries, kept: Path, *, upgrade: bool
) -> BaseImage:
    """Return a base for a platform, as it is remembered, else as its registry has it now.

    Raises NotFoundError ``image.base_not_found``, ConfigError ``image.no_such_platform``, ``image.platform_differs``,
    ``image.bad_manifest``, and what a registry raises.
    """
    if reference.digest or not upgrade:
        with suppress(OSError, ConfigError):
            digest = (kept / f"{_name(reference, platform)}.digest").read_text().strip()
            return _remembered(reference, digest, kept)
    registry = registries.open(reference)
    found = registry.manifest(reference.repository, reference.pointer, platform=platform)
    if found is None:
        raise _not_found(reference)
    data, manifest = found
    config = registry.config(reference.repository, manifest.config)
    if config.platform != platform:
        raise ConfigError(
            "image.platform_differs",
            f"The base {reference} is for {config.platform}, and {platform} is wanted.",
            next_step="Name a base for that platform.",
            field="image.base",
        )
    if len(config.diff_ids) != len(manifest.layers):
        raise oci.bad_manifest(f"it has {len(manifest.layers)} layers, its configuration {len(config.diff_ids)}")
    kept.mkdir(parents=True, exist_ok=True)
    plain = manifest.digest.removeprefix("sha256:")
    write_whole(kept / f"{plain}.manifest", data.decode())
    write_whole(kept / f"{plain}.config", oci.canonical(config.document).decode())
    exact = reference.at(manifest.digest)
    for one in (reference, exact):
        write_whole(kept / f"{_name(one, platform)}.digest", manifest.digest)
    return BaseImage(exact, manifest, config, data)


def _name(reference: Reference, platform: Platform) -> str:
    return hashlib.sha256(f"{reference} {platform}".encode()).hexdigest()[:32]


def _remembered(reference: Reference, digest: str, kept: Path) -> BaseImage:
    plain = digest.removeprefix("sha256:")
    data = (kept / f"{plain}.manifest").read_bytes()
    manifest = oci.read_manifest(data)
    if manifest.digest != digest:
        raise OSError("damaged")
    config = oci.read_config((kept / f"{plain}.config").read_bytes())
    return BaseImage(reference.at(digest), manifest, config, data)


def python_of(base: Base, found: BaseImage, registries: Registries, kept: Path) -> Python:
    """Return the interpreter of a base: as is known of it, as its labels tell, or found in its layers.

    Raises ConfigError ``image.base_is_ours``, and what ``scanning.python_of`` raises.
    """
    if BUILDER in found.config.labels:
        raise ConfigError(
            "image.base_is_ours",
            f"The base {found.reference} is itself an image that Clary made: its packages would mix with the new ones.",
            next_step="Name its own base, and list the packages of both in requirements.",
            field="image.base",
        )
    if base.python is not None:
        return base.python
    told = interpreter_of(found.config)
    if told is not None:
        return told
    registry = registries.open(found.reference)
    return scanning.python_of(
        found.manifest,
        found.config,
        lambda layer: registry.read_blob(found.reference.repository, layer.digest, layer.size),
        kept,
    )


def _not_found(reference: Reference) -> NotFoundError:
    return NotFoundError(
        "image.base_not_found",
        f"The registry {reference.host} has no {reference.repository}:{reference.pointer}.",
        next_step="Check the name of the base; a private registry also answers so to who may not read it.",
        field="image.base",
    )
