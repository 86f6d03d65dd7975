"""The schema of the store as an ordered list of steps. A released step never changes; new ones are appended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clary.ids import new_id

if TYPE_CHECKING:
    from clary.control.database import Connection

Statement = str | Callable[["Connection"], None]
"""SQL, or a function for what SQL cannot say."""


def _take_stacks_apart(connection: Connection) -> None:
    """Give each stack of version 1, one flat document, components of its own with its name."""
    for row in connection.execute("SELECT * FROM stacks").fetchall():
        stack = json.loads(row["document"])
        local = stack["type"] == "local"
        settings = stack.pop("settings", None) or {}
        runner = {
            name: stack[name]
            for name in ("region", "execution_role", "image", "endpoint_url", "credentials")
            if stack.get(name) is not None
        }
        parts: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
            (
                "orchestrator",
                "local" if local else "sagemaker",
                runner | settings,
                {"type": stack["type"], **runner, **({"settings": settings} if settings else {})},
            ),
            (
                "artifact_store",
                "local" if local else "s3",
                {"path": stack["artifact_store"]},
                {"artifact_store": stack["artifact_store"]},
            ),
        ]
        if registry := stack.get("container_registry"):
            parts.append(("container_registry", "aws", {"uri": registry}, {"container_registry": registry}))
        components = {}
        for kind, flavor, options, provides in parts:
            components[kind] = new_id()
            connection.execute(
                "INSERT INTO components (id, kind, name, flavor, document, created, updated) "
                "VALUES (:id, :kind, :name, :flavor, :document, :created, :updated)",
                {
                    "id": components[kind],
                    "kind": kind,
                    "name": row["name"],
                    "flavor": flavor,
                    "document": json.dumps({"options": options, "provides": provides}),
                    "created": row["created"],
                    "updated": row["updated"],
                },
            )
        document = json.dumps({"components": components, "managed": True})
        connection.execute(
            "UPDATE stacks SET document = :document WHERE id = :id", {"id": row["id"], "document": document}
        )


STEPS: tuple[tuple[Statement, ...], ...] = (
    (
        """
        CREATE TABLE settings (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE stacks (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            type TEXT NOT NULL,
            document TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            updated DOUBLE PRECISION NOT NULL
        )
        """,
        """
        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            flow TEXT NOT NULL,
            stack TEXT NOT NULL,
            status TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            updated DOUBLE PRECISION NOT NULL,
            view TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE projects (
            run TEXT PRIMARY KEY,
            root TEXT NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE components (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            flavor TEXT NOT NULL,
            document TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL,
            updated DOUBLE PRECISION NOT NULL,
            UNIQUE (kind, name)
        )
        """,
        _take_stacks_apart,
    ),
)
"""Step n brings a store of version n to version n + 1. Column types are understood by SQLite and PostgreSQL alike."""

VERSION = len(STEPS)
"""The version of a store that this code reads and writes."""
