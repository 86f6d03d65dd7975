"""Keys that somebody wrote out in an option: moved into the encrypted store before anything else is kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.stacks.components import Component


def advice(parts: Iterable[Component]) -> list[str]:
    """Return what to say to somebody who wrote keys on the command line."""
    from clary.sagemaker import credentials

    found = (credentials.advice(credentials.parse(part.options.get("credentials"))) for part in parts)
    return list(dict.fromkeys(text for text in found if text))


def moved(part: Component) -> Component:
    """Return the component with its keys kept as a local secret and referred to; any other as it is."""
    from clary.sagemaker import credentials

    source = credentials.parse(part.options.get("credentials"))
    if not source.inline:
        return part
    kept = {"credentials": credentials.keep(source, part.name)}
    return dataclasses.replace(part, options=part.options | kept, provides=part.provides | kept)
