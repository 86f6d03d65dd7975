"""The local store: migrations from the first version on, rights, several processes at once, files that are no store."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from clary.control import database as module
from clary.control import settings
from clary.control.database import Database
from clary.control.migrations import STEPS, VERSION
from clary.errors import ConfigError, ConflictError
from clary.stacks import entries
from clary.stacks.components import make

COUNTER = """
import sys
from pathlib import Path
from clary.control import settings
from clary.control.database import Database
store = Database(Path(sys.argv[1]))
for _ in range(25):
    with store.transaction() as connection:
        settings.put(connection, "n", str(int(settings.get(connection, "n") or 0) + 1))
"""


def test_a_new_store_is_private_and_current(tmp_path: Path) -> None:
    store = Database(tmp_path / "clary.db")
    with store.transaction() as connection:
        settings.put(connection, "a", "1")
        assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    with store.reading() as connection:
        assert settings.get(connection, "a") == "1"


@pytest.mark.parametrize("version", range(VERSION + 1))
def test_a_store_of_every_earlier_version_is_brought_up(tmp_path: Path, version: int) -> None:
    path = tmp_path / "clary.db"
    old = sqlite3.connect(path)
    old.row_factory = sqlite3.Row
    for step in STEPS[:version]:
        for statement in step:
            if isinstance(statement, str):
                old.execute(statement)
            else:
                statement(old)
    if version:
        old.execute("INSERT INTO settings VALUES ('kept', 'yes')")
    old.execute(f"PRAGMA user_version = {version}")
    old.commit()
    old.close()
    with Database(path).reading() as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
        assert settings.get(connection, "kept") == ("yes" if version else None)


def test_a_stack_of_the_first_version_is_taken_apart(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "clary.db")
    for statement in STEPS[0]:
        assert isinstance(statement, str)
        old.execute(statement)
    aws = {
        "name": "aws",
        "type": "sagemaker",
        "artifact_store": "s3://bucket/x",
        "region": "eu-central-1",
        "execution_role": "arn:aws:iam::123456789012:role/R",
        "container_registry": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/x",
        "image": None,
        "endpoint_url": "http://127.0.0.1:1",
        "credentials": "aws-profile:me",
        "settings": {"instance_type": "ml.m5.large"},
    }
    here = {"name": "here", "type": "local", "artifact_store": "/runs", "settings": {}}
    for name, document in (("aws", aws), ("here", here)):
        row = (f"id-{name}", name, document["type"], json.dumps(document), 1.0, 2.0)
        old.execute("INSERT INTO stacks VALUES (?, ?, ?, ?, ?, ?)", row)
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    with Database(tmp_path / "clary.db").reading() as connection:
        found = {entry.stack.name: entry for entry in entries.every(connection)}
    assert found["aws"].id == "id-aws"
    assert {name: found["aws"].stack.to_dict()[name] for name in aws} == aws
    assert found["here"].stack.artifact_store == "/runs"
    for entry in found.values():  # what a flavor would make of the options is what was stored
        again = [make(part.kind, part.name, part.flavor, part.options) for part in entry.components]
        assert [part.provides for part in again] == [part.provides for part in entry.components]


def test_a_failed_migration_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Database(tmp_path / "clary.db")
    with store.transaction() as connection:
        settings.put(connection, "a", "1")
    monkeypatch.setattr(module, "VERSION", VERSION + 1)
    monkeypatch.setattr(module, "STEPS", (*STEPS, ("CREATE TABLE more (x TEXT)", "NOT SQL")))
    with pytest.raises(ConfigError, match=r"control.unreadable"), store.reading():
        pass
    monkeypatch.undo()
    with store.reading() as connection:
        assert settings.get(connection, "a") == "1"
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone()[0] == 0


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "clary.db"
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with pytest.raises(ConfigError) as refused, Database(path).reading():
        pass
    assert refused.value.code == "control.newer_store"


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clary.db"
    path.write_bytes(b"not a database, and long enough to be looked at" * 40)
    with pytest.raises(ConfigError) as refused, Database(path).reading():
        pass
    assert refused.value.code == "control.unreadable"
    assert str(path) in refused.value.summary


def test_what_fails_in_a_transaction_is_not_stored(tmp_path: Path) -> None:
    store = Database(tmp_path / "clary.db")

    def fail_after_writing() -> None:
        with store.transaction() as connection:
            settings.put(connection, "a", "1")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail_after_writing()
    with store.reading() as connection:
        assert settings.get(connection, "a") is None


def test_a_lock_that_is_not_released_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    store = Database(tmp_path / "clary.db")
    with store.transaction() as first:
        settings.put(first, "a", "1")
        with pytest.raises(ConflictError) as refused, store.transaction():
            pass
        with store.reading() as reader:  # a reader is not kept waiting
            assert settings.get(reader, "a") is None
    assert refused.value.code == "control.busy"


def test_several_processes_begin_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "clary.db"
    workers = [subprocess.Popen([sys.executable, "-c", COUNTER, str(path)]) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    with Database(path).reading() as connection:
        assert settings.get(connection, "n") == "100"


def test_a_store_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused, Database(tmp_path / "gone" / "clary.db").reading():
        pass
    assert refused.value.code == "control.unreadable"
    assert str(tmp_path / "gone") in refused.value.summary
