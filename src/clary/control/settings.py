"""Saved settings of this machine and person: name and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.control.database import Connection

CURRENT_STACK = "current_stack"


def get(connection: Connection, name: str) -> str | None:
    """Return the saved value, or None."""
    row = connection.execute("SELECT value FROM settings WHERE name = :name", {"name": name}).fetchone()
    return None if row is None else str(row["value"])


def put(connection: Connection, name: str, value: str) -> None:
    """Save a value, in place of one that was there."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (:name, :value) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        {"name": name, "value": value},
    )
