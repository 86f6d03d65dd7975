"""The repositories themselves, which moto keeps: whether there is one, its settings, and its end."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.registry.names import Place


def repository(place: Place) -> Any | None:
    """Return moto's repository, or None."""
    from moto.ecr.models import ecr_backends

    return ecr_backends[place.account][place.region].repositories.get(place.repository)


def names(account: str, region: str) -> list[str]:
    """Return the names of a registry's repositories, in order."""
    from moto.ecr.models import ecr_backends

    return sorted(ecr_backends[account][region].repositories)


def encryption(place: Place) -> Mapping[str, str]:
    """Return how a repository is encrypted; blobs are only mounted between two that are so alike."""
    found: Mapping[str, str] = getattr(repository(place), "encryption_configuration", None) or {}
    return found


def keeps_tag(place: Place, tag: str) -> bool:
    """Return whether a tag of the repository, once pushed, stays what it is (PutImageTagMutability).

    The filters name the tags for which the opposite of the setting holds.
    """
    found = repository(place)
    said = getattr(found, "image_tag_mutability", "MUTABLE")
    immutable, _, excluding = str(getattr(said, "value", said)).partition("_")
    filters = getattr(found, "image_tag_mutability_exclusion_filters", None) or () if excluding else ()
    excluded = any(fnmatch.fnmatchcase(tag, one["filter"]) for one in filters)
    return (immutable == "IMMUTABLE") != excluded
