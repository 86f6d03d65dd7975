"""The schema of the store as an ordered list of steps. A released step never changes; new ones are appended."""

from __future__ import annotations

STEPS: tuple[tuple[str, ...], ...] = (
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
)
"""Step n brings a store of version n to version n + 1. Column types are understood by SQLite and PostgreSQL alike."""

VERSION = len(STEPS)
"""The version of a store that this code reads and writes."""
