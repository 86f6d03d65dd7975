"""``image=`` in Kitaru's forms: a reference, ``ImageSettings``, or a mapping of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from clary.errors import nearest
from clary.kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError


@dataclass(frozen=True)
class ImageSettings:
    """What runs a flow. ``base_image`` and ``environment`` have an effect; the others would have an image built."""

    base_image: str | None = None
    requirements: list[str] | None = None
    dockerfile: str | None = None
    build_context_root: str | None = None
    environment: dict[str, str] | None = None
    secret_environment_from: list[str] | None = None
    apt_packages: list[str] | None = None
    replicate_local_python_environment: bool | None = None
    image_tag: str | None = None
    target_repository: str | None = None
    user: str | None = None
    platform: str | None = None

    def is_empty(self) -> bool:
        """Tell whether nothing is said."""
        return all(getattr(self, one.name) is None for one in fields(self))


ImageInput: TypeAlias = str | ImageSettings | Mapping[str, Any]


def image_of(given: ImageInput | None) -> tuple[str | None, dict[str, Any]]:
    """Return the image's reference, and job settings with its variables.

    Raises KitaruUsageError ``kitaru.bad_image``; KitaruFeatureNotAvailableError ``kitaru.no_build``,
    ``kitaru.no_secret_environment``.
    """
    if given is None or isinstance(given, str):
        return given, {}
    settings = given if isinstance(given, ImageSettings) else _settings(given)
    if settings.secret_environment_from:
        first = settings.secret_environment_from[0]
        raise KitaruFeatureNotAvailableError(
            "kitaru.no_secret_environment",
            "secret_environment_from= is not available here: a variable names its secret and key.",
            next_step=f'Write environment={{"TOKEN": "{{{{secrets.{first}.TOKEN}}}}"}} for each key that is needed.',
            field="image.secret_environment_from",
        )
    building = [one.name for one in fields(settings) if one.name not in _EFFECTIVE and getattr(settings, one.name)]
    if building:
        raise KitaruFeatureNotAvailableError(
            "kitaru.no_build",
            f"image.{building[0]} is not available here: Clary does not build images yet.",
            next_step="Build the image yourself and name it as base_image; the project's code needs no image, it is "
            "sent with each run.",
            field=f"image.{building[0]}",
        )
    environment = {"environment": dict(settings.environment)} if settings.environment else {}
    return settings.base_image, environment


_EFFECTIVE = frozenset({"base_image", "environment", "secret_environment_from"})


def _settings(given: Mapping[str, Any]) -> ImageSettings:
    known = [one.name for one in fields(ImageSettings)]
    for name in given:
        if name not in known:
            meant = nearest(str(name), known)
            raise KitaruUsageError(
                "kitaru.bad_image",
                f"An image has no field {name!r}.",
                next_step=f"Did you mean {meant!r}?" if meant else f"Its fields are: {', '.join(known)}.",
                field=f"image.{name}",
            )
    return ImageSettings(**given)
