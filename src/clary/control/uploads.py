"""What is known to lie under an artifact store already: content-addressed keys that need no second upload, or look."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.control.database import Connection


def known(connection: Connection, root: str, keys: Iterable[str], *, since: float = 0.0) -> set[str]:
    """Return those of ``keys`` that were seen under ``root`` at or after ``since`` (epoch seconds)."""
    found = set()
    for key in keys:
        row = connection.execute(
            "SELECT 1 FROM uploads WHERE root = :root AND key = :key AND seen >= :since",
            {"root": root, "key": key, "since": since},
        ).fetchone()
        if row is not None:
            found.add(key)
    return found


def record(connection: Connection, root: str, keys: Iterable[str], *, seen: float | None = None) -> None:
    """Note that the keys lie under ``root``. ``seen`` in epoch seconds; default: now."""
    moment = time.time() if seen is None else seen
    connection.executemany(
        "INSERT INTO uploads (root, key, seen) VALUES (:root, :key, :seen) "
        "ON CONFLICT (root, key) DO UPDATE SET seen = excluded.seen",
        [{"root": root, "key": key, "seen": moment} for key in keys],
    )


def forget(connection: Connection, root: str) -> int:
    """Drop what is known of one artifact store (it was emptied, or made anew); returns how many keys."""
    return connection.execute("DELETE FROM uploads WHERE root = :root", {"root": root}).rowcount
