"""Keys that somebody wrote out in an option: moved into the encrypted store before anything else is kept.

The secret belongs to the component, and goes with it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from clary.control import components as rows
from clary.errors import ClaryError, NotFoundError
from clary.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.control.database import Connection
    from clary.stacks.components import Component

_REFERENCE = "aws-secret:"
"""What ``clary.sagemaker.credentials`` puts before the name of a secret."""


def reference(secret: str | None) -> str | None:
    """Return how an option refers to a secret with keys; None for none."""
    return f"{_REFERENCE}{secret}" if secret else None


def advice(parts: Iterable[Component]) -> list[str]:
    """Return what to say to somebody who wrote keys on the command line."""
    from clary.sagemaker import credentials

    found = (credentials.advice(credentials.parse(part.options.get("credentials"))) for part in parts)
    return list(dict.fromkeys(text for text in found if text))


def moved(connection: Connection, part: Component) -> Component:
    """Return the component with its keys kept as a local secret and referred to; any other as it is.

    The secret is named after the component; after its kind and id too, where that name is somebody else's.
    """
    from clary.sagemaker import credentials
    from clary.secrets.local import LocalSecrets

    source = credentials.parse(part.options.get("credentials"))
    if not source.inline:
        return part
    others = [row for row in rows.every(connection) if row.id != part.id]
    taken = {row.document["options"].get("credentials") for row in others}
    name, store = part.name, LocalSecrets()
    secret = credentials.secret_name(name)
    if reference(secret) in taken or (secret != part.keys and store.exists(secret)):
        name = f"{part.name}-{part.kind.replace('_', '-')}-{new_id()}"
    kept = {"credentials": credentials.keep(source, name, store)}
    secret = credentials.secret_name(name)
    return dataclasses.replace(part, options=part.options | kept, provides=part.provides | kept, keys=secret)


def hidden(part: Component) -> Component:
    """Return the component as it may be shown before it is kept: without the keys that were written out."""
    from clary.sagemaker import credentials

    source = credentials.parse(part.options.get("credentials"))
    if not source.inline:
        return part
    shown = {"credentials": str(source)}
    return dataclasses.replace(part, options=part.options | shown, provides=part.provides | shown)


def forget(connection: Connection, gone: Iterable[Component]) -> tuple[list[str], list[str]]:
    """Delete the secrets that were made of the keys of components that are gone, or have others now.

    One that a component still refers to stays. Returns the names of those deleted, and what to be warned of: a store
    that cannot be opened is no reason to keep the component.
    """
    made = dict.fromkeys(part.keys for part in gone if part.keys)
    if not made:
        return [], []
    from clary.secrets.local import LocalSecrets

    used = {row.document["options"].get("credentials") for row in rows.every(connection)}
    deleted, warnings = [], []
    for secret in made:
        if reference(secret) in used:
            continue
        try:
            LocalSecrets().delete(secret)
        except NotFoundError:
            continue  # somebody was quicker
        except ClaryError as error:
            warnings.append(f"The secret {secret!r} with its keys is still there: {error.summary}")
        else:
            deleted.append(secret)
    return deleted, warnings
