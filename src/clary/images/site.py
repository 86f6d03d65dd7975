"""Where images are made and where they go: what a stack and a machine say, for the parts of this room."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError

if TYPE_CHECKING:
    from clary.image import Image
    from clary.images.registry.registries import Registries
    from clary.objects import ObjectStore

DEFAULT_REPOSITORY = "clary"
"""Of images, where neither the image nor the stack's registry names one."""


@dataclass(frozen=True)
class Site:
    """Registries, repository, caches and the builder's options."""

    registries: Registries
    home: Path
    """``CLARY_HOME``; images keep what they need in folders of its ``images``."""
    host: str | None = None
    """The registry that images are pushed to; None where the stack has none."""
    repository: str | None = None
    region: str | None = None
    suffix: str = "amazonaws.com"
    """DNS suffix of the region's partition."""
    builder: Mapping[str, Any] = field(default_factory=dict)
    """The stack's image builder: ``flavor`` and its options."""
    secret: Callable[[str], str] | None = None
    """Gives the value of a reference to a secret."""
    store: Callable[[], ObjectStore] | None = None
    """Opens the artifact store, for builders whose context travels through it."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Variables for uv and the builders."""

    @property
    def images(self) -> Path:
        """The folder of images in Clary's home."""
        return self.home / "images"

    def builder_of(self, image: Image) -> str:
        """Return who builds an image: as it says, else as the stack says, else ``layers``."""
        return image.builder or str(self.builder.get("flavor") or "layers")

    def repository_of(self, image: Image) -> tuple[str, str]:
        """Return registry and repository of an image. Raises ConfigError ``image.no_registry``."""
        if self.host is None:
            raise ConfigError(
                "image.no_registry",
                "The stack has no container registry that an image could be pushed to.",
                next_step="Name one (`clary stack update NAME --container-registry URI`), or send the packages beside "
                'the code: Image(builder="none", base=…).',
                field="image.repository",
            )
        return self.host, image.repository or self.repository or DEFAULT_REPOSITORY

    def secrets_of(self, image: Image) -> dict[str, str]:
        """Return the values of a build's secrets by their variables. Raises what looking one up raises."""
        if not image.secrets:
            return {}
        assert self.secret is not None  # whoever reads images that name secrets can look them up
        return {name: self.secret(text) for name, text in image.secrets.items()}
