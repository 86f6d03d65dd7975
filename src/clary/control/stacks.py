"""Stacks as the store keeps them: a name, what it is composed of, and whether Clary made it whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.ids import new_id

if TYPE_CHECKING:
    from clary.control.database import Connection


@dataclass(frozen=True)
class StackRow:
    """One kept stack. Times are epoch seconds."""

    id: str
    name: str
    type: str
    components: dict[str, str]
    """Kind of component to the component's id."""
    managed: bool
    """Whether its components were made with it, and are its own."""
    created: float
    updated: float


def get(connection: Connection, name: str) -> StackRow | None:
    """Return the stack of that name, or None."""
    return _row(connection.execute("SELECT * FROM stacks WHERE name = :name", {"name": name}).fetchone())


def by_id(connection: Connection, identifier: str) -> StackRow | None:
    """Return the stack of that id, or None."""
    return _row(connection.execute("SELECT * FROM stacks WHERE id = :id", {"id": identifier}).fetchone())


def every(connection: Connection) -> list[StackRow]:
    """Return all stacks, by name."""
    found = (_row(row) for row in connection.execute("SELECT * FROM stacks ORDER BY name").fetchall())
    return [row for row in found if row is not None]


def add(connection: Connection, *, name: str, type_: str, components: Mapping[str, str], managed: bool) -> StackRow:
    """Keep a new stack. The caller has checked, in the same transaction, that the name is free."""
    now = time.time()
    row = StackRow(new_id(), name, type_, dict(components), managed, now, now)
    connection.execute(
        "INSERT INTO stacks (id, name, type, document, created, updated) "
        "VALUES (:id, :name, :type, :document, :created, :updated)",
        {
            "id": row.id,
            "name": name,
            "type": type_,
            "document": _document(row.components, managed),
            "created": now,
            "updated": now,
        },
    )
    return row


def replace(
    connection: Connection, identifier: str, *, name: str, type_: str, components: Mapping[str, str], managed: bool
) -> None:
    """Give a stack another name and composition; its id stays."""
    connection.execute(
        "UPDATE stacks SET name = :name, type = :type, document = :document, updated = :updated WHERE id = :id",
        {
            "id": identifier,
            "name": name,
            "type": type_,
            "document": _document(components, managed),
            "updated": time.time(),
        },
    )


def remove(connection: Connection, identifier: str) -> bool:
    """Forget a stack. Returns whether there was one of that id."""
    return connection.execute("DELETE FROM stacks WHERE id = :id", {"id": identifier}).rowcount == 1


def _document(components: Mapping[str, str], managed: bool) -> str:
    return json.dumps({"components": dict(components), "managed": managed})


def _row(found: Any) -> StackRow | None:
    if found is None:
        return None
    document = json.loads(found["document"])
    return StackRow(
        id=str(found["id"]),
        name=str(found["name"]),
        type=str(found["type"]),
        components=document["components"],
        managed=bool(document["managed"]),
        created=float(found["created"]),
        updated=float(found["updated"]),
    )
