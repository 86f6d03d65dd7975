from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from clary.sandbox.database import Database

SCHEMA = """
CREATE TABLE owners (name TEXT PRIMARY KEY);
CREATE TABLE pets (owner TEXT REFERENCES owners (name) DEFERRABLE INITIALLY DEFERRED);
"""


def test_a_commit_that_fails_leaves_the_store_usable(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", SCHEMA, version=1, durable=False)
    database.execute("PRAGMA foreign_keys=ON")
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        database.execute("INSERT INTO pets VALUES ('nobody')")  # seen at the commit only

    with database.transaction():
        database.execute("INSERT INTO owners VALUES ('ann')")

    assert database.rows("SELECT * FROM pets") == []
    assert len(database.rows("SELECT * FROM owners")) == 1
    database.close()
