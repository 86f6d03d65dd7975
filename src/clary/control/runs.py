"""The runs this machine has seen: a cache of what the stacks' artifact stores hold, never the truth itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clary.control.database import Connection


@dataclass(frozen=True)
class RunRow:
    """One run as it was last seen. Times are epoch seconds."""

    id: str
    flow: str
    stack: str
    status: str
    created: float
    updated: float
    """When it was last looked at, by this machine's clock."""
    view: dict[str, Any]
    """The last ``RunView`` as plain data."""


def remember(connection: Connection, view: Mapping[str, Any], *, seen: float | None = None) -> None:
    """Keep the newest view of a run: the plain data of a ``RunView``.

    ``seen`` is when it was read, in epoch seconds (default: now); a view read before the kept one changes nothing.
    """
    connection.execute(
        "INSERT INTO runs (id, flow, stack, status, created, updated, view) "
        "VALUES (:id, :flow, :stack, :status, :created, :updated, :view) "
        "ON CONFLICT (id) DO UPDATE SET flow = excluded.flow, stack = excluded.stack, status = excluded.status, "
        "created = excluded.created, updated = excluded.updated, view = excluded.view "
        "WHERE runs.updated <= excluded.updated",
        {
            **{name: view[name] for name in ("id", "flow", "stack", "status", "created")},
            "updated": time.time() if seen is None else seen,
            "view": json.dumps(dict(view)),
        },
    )


def get(connection: Connection, run: str) -> RunRow | None:
    """Return the run of that id, or None."""
    found = connection.execute("SELECT * FROM runs WHERE id = :id", {"id": run}).fetchone()
    return None if found is None else _row(found)


def _row(found: Any) -> RunRow:
    return RunRow(
        id=str(found["id"]),
        flow=str(found["flow"]),
        stack=str(found["stack"]),
        status=str(found["status"]),
        created=float(found["created"]),
        updated=float(found["updated"]),
        view=json.loads(found["view"]),
    )
