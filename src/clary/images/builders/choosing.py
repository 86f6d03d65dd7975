"""Which builder makes an image, and what each cannot do: said before anything begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clary.images.building import cannot

if TYPE_CHECKING:
    from clary.image import Image
    from clary.images.building import Builder
    from clary.images.site import Site

_OTHERS = "'docker' or 'kaniko'"
CANNOT: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "layers": {
        "apt": ("install Debian packages, for it runs nothing", _OTHERS),
        "dockerfile": ("carry out a Dockerfile, for it runs nothing", _OTHERS),
    },
    "none": {
        name: (f"set {name}, for it builds nothing", "'layers'")
        for name in ("copy", "code", "entrypoint", "user", "workdir", "tag", "repository")
    }
    | {
        "apt": ("install Debian packages, for it builds nothing", _OTHERS),
        "dockerfile": ("carry out a Dockerfile, for it builds nothing", _OTHERS),
    },
}
"""By builder: fields that it can do nothing about, what that would be, and who can."""


def refuse(name: str, image: Image) -> None:
    """Refuse what a builder cannot do. Raises ConfigError ``image.builder_cannot``."""
    for field, (what, others) in CANNOT.get(name, {}).items():
        if getattr(image, field):
            raise cannot(name, what, others, field)


def open_builder(name: str, site: Site) -> Builder:
    """Return a builder, with the options that the stack gives it. ``none`` builds nothing and is none."""
    if name == "docker":
        from clary.images.builders import docker

        return docker.opened(site)
    if name == "kaniko":
        from clary.images.builders import kaniko

        return kaniko.opened(site)
    from clary.images.builders.layers import Layers

    return Layers(site)
