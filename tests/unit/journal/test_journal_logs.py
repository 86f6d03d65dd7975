"""Where logs are kept: SQLite and objects behave alike; damage is told; snapshots only make reading quicker."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from clary.errors import JournalError, Retry
from clary.journal import log as log_module
from clary.journal import sqlite
from clary.journal.log import Log, ObjectLog
from clary.journal.records import from_bytes, new_entry, to_bytes
from clary.journal.sqlite import SqliteLog, run_ids
from clary.journal.writer import Journal
from clary.objects.folder import FolderStore
from durable import KINDS, RUN, begin, claim, open_log


@pytest.fixture(params=KINDS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return open_log(request.param, tmp_path)[0]


def test_a_number_is_taken_once(log: Log) -> None:
    first, second = new_entry(1, [{"kind": "a"}]), new_entry(1, [{"kind": "b"}])
    assert log.create(first)
    assert not log.create(second)
    assert log.get(1) == first
    assert log.get(2) is None
    assert list(log.read()) == [first]
    assert list(log.read(1)) == []


def test_reading_goes_on_where_it_was(log: Log) -> None:
    entries = [new_entry(number, [{"kind": "a", "n": number}]) for number in range(1, 40)]
    for entry in entries:
        assert log.create(entry)
    assert list(log.read()) == entries
    assert list(log.read(30)) == entries[30:]


def test_an_entry_of_a_later_version_is_refused_with_a_next_step(log: Log) -> None:
    log.create({**new_entry(1, []), "v": 2})
    with pytest.raises(JournalError, match="later version") as caught:
        list(log.read())
    assert caught.value.code == "journal.unreadable"
    assert caught.value.retry is Retry.NO
    with pytest.raises(JournalError, match="later version"):
        log.get(1)


def test_a_gap_is_told(log: Log) -> None:
    log.create(new_entry(1, []))
    log.create(new_entry(3, []))
    with pytest.raises(JournalError, match="missing"):
        list(log.read())


def test_bytes_that_are_no_entry() -> None:
    with pytest.raises(ValueError):
        from_bytes(b"{")
    entry = new_entry(7, [{"kind": "x", "text": "\ud800 ü"}])
    assert from_bytes(to_bytes(entry)) == entry


def test_a_damaged_object_is_told(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path))
    store.put(f"runs/{RUN}/log/0000000001.json", b"{")
    with pytest.raises(JournalError, match=r"0000000001\.json") as caught:
        list(ObjectLog(store, RUN).read())
    assert caught.value.code == "journal.unreadable"


def test_a_damaged_or_locked_file_is_a_journal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    log = SqliteLog(path, RUN)
    log._connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError) as caught:
        log.create(new_entry(1, []))
    assert caught.value.retry is Retry.LATER
    other.execute("DROP TABLE log")
    other.execute("COMMIT")
    other.close()
    with pytest.raises(JournalError) as caught:
        list(log.read())
    assert caught.value.code == "journal.unreadable"
    log.close()
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 20)
    with pytest.raises(JournalError) as caught:
        SqliteLog(tmp_path / "text", RUN)
    assert caught.value.code == "journal.unwritable"


def test_runs_of_a_file_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    assert run_ids(path) == []
    for run in ("01A", "01C", "01B"):
        log = SqliteLog(path, run)
        log.create(new_entry(1, []))
        log.close()
    assert run_ids(path) == ["01C", "01B", "01A"]


def test_the_journal_mode_fits_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite.journal_mode(tmp_path) == "wal"
    monkeypatch.setattr(sqlite, "_file_system", lambda _path: "nfs4")
    assert sqlite.journal_mode(tmp_path) == "delete"
    log = SqliteLog(tmp_path / "journal.db", RUN)
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    log.close()


def test_the_disk_is_waited_for_when_asked(tmp_path: Path) -> None:
    for full, level in ((False, 1), (True, 2)):
        log = SqliteLog(tmp_path / "journal.db", RUN, full_sync=full)
        assert log._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        log.close()


def test_file_systems_are_told_by_their_mounts() -> None:
    assert sqlite._file_system(Path("/proc/self")) == "proc"


def test_a_snapshot_shortens_reading_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.journal.writer.SNAPSHOT_EVERY", 10)
    log, store = open_log("objects", tmp_path)
    begin(log, store)
    journal = Journal(log, 1)
    journal.open(host="here", pid=1)
    for number in range(25):
        journal.write({"kind": "value", "path": f"~now#{number}", "value": number})
    folder = f"runs/{RUN}/snapshot"
    assert list(store.keys(folder)) == [f"{folder}/0000000010.json", f"{folder}/0000000020.json"]
    reads: list[str] = []
    get = store.get

    def counted(key: str) -> bytes | None:
        reads.append(key)
        return get(key)

    monkeypatch.setattr(store, "get", counted)
    entries = list(log.read())
    assert [entry["seq"] for entry in entries] == list(range(1, 28))
    assert len(reads) == 2 + 7
    late = Journal(log, 1)
    late.open(host="here", pid=2)
    assert late.state.values == journal.state.values
    assert [len(json.loads(store.get(key) or b"")["entries"]) for key in store.keys(folder)] == [10, 10]
    for damaged in store.keys(folder):
        store.put(damaged, b"{")
        assert list(log.read())[:-1] == entries


def test_one_writer_after_the_other_leaves_whole_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.journal.writer.SNAPSHOT_EVERY", 10)
    log, store = open_log("objects", tmp_path)
    begin(log, store)
    for attempt in range(1, 8):
        if attempt > 1:
            claim(log, attempt)
        journal = Journal(log, attempt)
        journal.open(host="here", pid=1)
        for number in range(6):
            journal.write({"kind": "value", "path": f"{attempt}.{number}", "value": number})
            assert len(journal._entries) <= 10
    kept = [json.loads(store.get(key) or b"")["entries"] for key in store.keys(f"runs/{RUN}/snapshot")]
    assert [entry["seq"] for entries in kept for entry in entries] == list(range(1, 51))
    assert [entry["seq"] for entry in log.read()] == list(range(1, 57))


def test_a_snapshot_that_fails_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.journal.writer.SNAPSHOT_EVERY", 2)
    log, store = open_log("objects", tmp_path)
    begin(log, store)

    def down(*_args: object) -> None:
        raise JournalError("store.unavailable", "down", next_step="-")

    monkeypatch.setattr(log, "snapshot", down)
    journal = Journal(log, 1)
    journal.open(host="here", pid=1)
    for number in range(5):
        journal.write({"kind": "value", "path": str(number), "value": number})
    assert len(journal.state.values) == 5
    assert log_module.SNAPSHOT_EVERY == 1000
