"""``image=`` in Kitaru's forms: a reference, ``ImageSettings``, or a mapping of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from clary.errors import nearest
from clary.image import Image
from clary.kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError


@dataclass(frozen=True)
class ImageSettings:
    """What runs a flow: a base image, and what is added to it."""

    base_image: str | None = None
    requirements: list[str] | str | None = None
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

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return it as plain data; the options are pydantic's ``include``, ``exclude``, ``exclude_none``, ``mode``."""
        return dumped(self, options)


def dumped(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model of Kitaru's as plain data, as pydantic would with these options."""
    include, exclude = options.get("include"), options.get("exclude") or ()
    return {
        name: value
        for name, value in asdict(model).items()
        if (include is None or name in include)
        and name not in exclude
        and not (value is None and options.get("exclude_none"))
    }


ImageInput: TypeAlias = str | ImageSettings | Mapping[str, Any]

_OURS = {
    "base_image": "base",
    "requirements": "requirements",
    "dockerfile": "dockerfile",
    "build_context_root": "context",
    "apt_packages": "apt",
    "image_tag": "tag",
    "target_repository": "repository",
    "user": "user",
    "platform": "platform",
}
"""Their fields of what an image is made of, and ours."""


def image_of(given: ImageInput | None) -> tuple[str | Image | None, dict[str, Any]]:
    """Return the image, and job settings with its variables. A base alone is used as it is.

    Raises KitaruUsageError ``kitaru.bad_image``; KitaruFeatureNotAvailableError ``kitaru.no_secret_environment``.
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
    environment = {"environment": dict(settings.environment)} if settings.environment else {}
    said = {ours: value for theirs, ours in _OURS.items() if (value := getattr(settings, theirs)) is not None}
    if settings.replicate_local_python_environment:
        said["requirements"] = [*installed_here(), *_listed(said.get("requirements"))]
    if set(said) <= {"base"}:
        return said.get("base"), environment
    return Image(**said), environment


def installed_here() -> list[str]:
    """Return what is installed in this environment, each package at its version, but for Clary and local projects."""
    from importlib.metadata import distributions

    found = {
        f"{one.name}=={one.version}"
        for one in distributions()
        if one.name and one.name.lower() != "clary" and one.read_text("direct_url.json") is None
    }
    return sorted(found, key=str.lower)


def _listed(requirements: list[str] | str | None) -> list[str]:
    if isinstance(requirements, str):
        raise KitaruUsageError(
            "kitaru.bad_image",
            "requirements names a file beside replicate_local_python_environment.",
            next_step="Give the packages as a list, or name the file alone.",
            field="image.requirements",
        )
    return list(requirements or ())


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
