"""Labels of images: what made them, and what an image tells of its Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clary.images.building import BUILDER_VERSION, Python

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.images.building import Wheel
    from clary.images.oci import Config

BUILDER = "clary.builder"
LOCK = "clary.lock"
PACKAGES = "clary.packages"
"""``name==version``, with spaces between."""
PYTHON = "clary.python"
"""``<version> <libc> <libc's version> <executable>``: an image that says so need not be looked through."""
SOURCE = "org.opencontainers.image.source"
"""Source: the annotations of the OCI image specification."""
BASE = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
_PYTHON_FORM = re.compile(r"(3\.\d{1,2}) (glibc|musl) (\d+)\.(\d+) (/\S+)")


def labels_of(builder: str, *, lock: str, base: str, base_digest: str, source: str | None) -> dict[str, str]:
    """Return the labels of an image: empty ones are left out.

    Args:
        builder: the name of the builder.
        lock: digest of the packages' lock; empty for none.
        base: the base's name, without its digest.
        base_digest: its digest.
        source: the project's address.
    """
    said = {
        BUILDER: f"{builder} {BUILDER_VERSION}",
        LOCK: lock,
        BASE: base,
        BASE_DIGEST: base_digest,
        SOURCE: source or "",
    }
    return {name: value for name, value in said.items() if value}


def packages_label(wheels: Iterable[Wheel]) -> str:
    """Return what the label says of packages."""
    return " ".join(sorted(f"{wheel.name}=={wheel.version}" for wheel in wheels))


def packages_of(config: Config) -> dict[str, str]:
    """Return the versions of the packages that an image's label tells of, by name."""
    pairs = (entry.partition("==") for entry in config.labels.get(PACKAGES, "").split())
    return {name: version for name, _, version in pairs}


def python_label(python: Python) -> str:
    """Return what the label says of an interpreter."""
    libc = ".".join(map(str, python.libc_version))
    return f"{python.version} {python.libc} {libc} {python.executable}"


def interpreter_of(config: Config) -> Python | None:
    """Return the interpreter that an image's label tells of; None where it tells of none."""
    found = _PYTHON_FORM.fullmatch(config.labels.get(PYTHON, ""))
    if found is None:
        return None
    return Python(found[1], found[5], found[2], (int(found[3]), int(found[4])), config.platform)
