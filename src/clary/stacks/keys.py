"""Keys that somebody wrote out in an option: moved into the encrypted store before anything else is kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from clary.control import components as rows
from clary.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.control.database import Connection
    from clary.stacks.components import Component


def advice(parts: Iterable[Component]) -> list[str]:
    """Return what to say to somebody who wrote keys on the command line."""
    from clary.sagemaker import credentials

    found = (credentials.advice(credentials.parse(part.options.get("credentials"))) for part in parts)
    return list(dict.fromkeys(text for text in found if text))


def moved(connection: Connection, part: Component) -> Component:
    """Return the component with its keys kept as a local secret and referred to; any other as it is.

    The secret is named after the component; after its kind and id too, where another component already refers to that.
    """
    from clary.sagemaker import credentials

    source = credentials.parse(part.options.get("credentials"))
    if not source.inline:
        return part
    others = [row for row in rows.every(connection) if row.id != part.id]
    taken = {row.document["options"].get("credentials") for row in others}
    name = part.name
    if f"{credentials.Kind.SECRET.value}:{credentials.secret_name(name)}" in taken:
        name = f"{part.name}-{part.kind.replace('_', '-')}-{new_id()}"
    kept = {"credentials": credentials.keep(source, name)}
    return dataclasses.replace(part, options=part.options | kept, provides=part.provides | kept)
