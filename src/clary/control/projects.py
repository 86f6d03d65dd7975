"""Where the code of the runs that were submitted from this machine lies, so that a resume finds it from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.control.database import Connection


def remember(connection: Connection, run: str, root: Path) -> None:
    """Keep the folder of a run's project."""
    connection.execute(
        "INSERT INTO projects (run, root) VALUES (:run, :root) ON CONFLICT (run) DO UPDATE SET root = excluded.root",
        {"run": run, "root": str(root)},
    )


def root_of(connection: Connection, run: str) -> Path | None:
    """Return the folder of a run's project; None for a run that was not submitted from this machine."""
    found = connection.execute("SELECT root FROM projects WHERE run = :run", {"run": run}).fetchone()
    return None if found is None else Path(found["root"])
