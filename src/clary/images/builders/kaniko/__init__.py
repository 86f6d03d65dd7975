"""Images by Kaniko: a Job in a Kubernetes cluster builds them, without a Docker engine and without privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images.builders.kaniko.settings import CONTEXTS, Settings

if TYPE_CHECKING:
    from clary.images.builders.kaniko.builder import Kaniko
    from clary.images.site import Site
    from clary.objects import ObjectStore


def opened(site: Site) -> Kaniko:
    """Return the builder with the options that a stack gives it.

    Raises ConfigError ``image.no_context_store`` where contexts could not be put into S3.
    """
    from clary.images.builders.kaniko.builder import Kaniko

    settings = Settings.of(site.builder if site.builder.get("flavor") == "kaniko" else {})
    contexts, folder = _contexts(site, settings)
    if not contexts.root.startswith("s3://"):
        raise ConfigError(
            "image.no_context_store",
            f"The cluster cannot read the build's context from {contexts.root}.",
            next_step="Use a stack whose artifact store is in S3, or name a place there: build_context_store of the "
            "image builder.",
            field="image_builder.build_context_store",
        )
    environment = {"AWS_REGION": site.region} if site.region else {}
    return Kaniko(settings, contexts, folder, site.registries, site.images, environment, site.environment)


def _contexts(site: Site, settings: Settings) -> tuple[ObjectStore, str]:
    """Return where contexts are put: the store, and the folder of it."""
    from clary.objects import open_store

    if settings.build_context_store is not None:
        return open_store(settings.build_context_store.rstrip("/"), region=site.region), ""
    assert site.store is not None  # whoever builds images has an artifact store
    return site.store(), CONTEXTS
