"""Stacks as the store keeps them. The rules of a stack are in ``clary.stacks``; here it is a name and a document."""

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
    document: dict[str, Any]
    """The fields of ``clary.stacks.model.Stack``."""
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


def add(connection: Connection, *, name: str, type_: str, document: Mapping[str, Any]) -> StackRow:
    """Keep a new stack. The caller has checked, in the same transaction, that the name is free."""
    now = time.time()
    row = StackRow(new_id(), name, type_, dict(document), now, now)
    connection.execute(
        "INSERT INTO stacks (id, name, type, document, created, updated) "
        "VALUES (:id, :name, :type, :document, :created, :updated)",
        {**vars(row), "document": json.dumps(row.document)},
    )
    return row


def replace(connection: Connection, name: str, document: Mapping[str, Any]) -> bool:
    """Give a stack another document; its id stays. Returns whether there was one of that name."""
    rows = connection.execute(
        "UPDATE stacks SET document = :document, updated = :updated WHERE name = :name",
        {"name": name, "document": json.dumps(dict(document)), "updated": time.time()},
    )
    return rows.rowcount == 1


def remove(connection: Connection, name: str) -> bool:
    """Forget a stack. Returns whether there was one of that name."""
    return connection.execute("DELETE FROM stacks WHERE name = :name", {"name": name}).rowcount == 1


def _row(found: Any) -> StackRow | None:
    if found is None:
        return None
    return StackRow(
        id=str(found["id"]),
        name=str(found["name"]),
        type=str(found["type"]),
        document=json.loads(found["document"]),
        created=float(found["created"]),
        updated=float(found["updated"]),
    )
