"""Components as the store keeps them: a kind, a name, a flavor and a document. Their rules are in ``clary.stacks``."""

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
class ComponentRow:
    """One kept component. Times are epoch seconds."""

    id: str
    kind: str
    name: str
    flavor: str
    document: dict[str, Any]
    """``options`` as they were given, and what the flavor made of them: ``provides``."""
    created: float
    updated: float


def get(connection: Connection, kind: str, name: str) -> ComponentRow | None:
    """Return the component of that kind and name, or None."""
    found = connection.execute(
        "SELECT * FROM components WHERE kind = :kind AND name = :name", {"kind": kind, "name": name}
    ).fetchone()
    return None if found is None else _row(found)


def every(connection: Connection, kind: str | None = None) -> list[ComponentRow]:
    """Return all components, or those of one kind, by kind and name."""
    query = "SELECT * FROM components WHERE :kind IS NULL OR kind = :kind ORDER BY kind, name"
    found = connection.execute(query, {"kind": kind}).fetchall()
    return [_row(each) for each in found]


def add(connection: Connection, *, kind: str, name: str, flavor: str, document: Mapping[str, Any]) -> ComponentRow:
    """Keep a new component. The caller has checked, in the same transaction, that the name is free."""
    now = time.time()
    row = ComponentRow(new_id(), kind, name, flavor, dict(document), now, now)
    connection.execute(
        "INSERT INTO components (id, kind, name, flavor, document, created, updated) "
        "VALUES (:id, :kind, :name, :flavor, :document, :created, :updated)",
        {**vars(row), "document": json.dumps(row.document)},
    )
    return row


def replace(connection: Connection, identifier: str, *, name: str, flavor: str, document: Mapping[str, Any]) -> None:
    """Give a component another name, flavor and document; its id stays."""
    connection.execute(
        "UPDATE components SET name = :name, flavor = :flavor, document = :document, updated = :updated WHERE id = :id",
        {
            "id": identifier,
            "name": name,
            "flavor": flavor,
            "document": json.dumps(dict(document)),
            "updated": time.time(),
        },
    )


def remove(connection: Connection, identifier: str) -> None:
    """Forget a component. The caller has checked that no stack uses it."""
    connection.execute("DELETE FROM components WHERE id = :id", {"id": identifier})


def _row(found: Any) -> ComponentRow:
    return ComponentRow(
        id=str(found["id"]),
        kind=str(found["kind"]),
        name=str(found["name"]),
        flavor=str(found["flavor"]),
        document=json.loads(found["document"]),
        created=float(found["created"]),
        updated=float(found["updated"]),
    )
