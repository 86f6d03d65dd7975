"""The log of runs on one machine: one SQLite file, WAL mode, shared by every process of this machine."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import JournalError, Retry
from clary.journal.records import from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.journal.records import Entry

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "lustre", "beegfs"}
)
_PATIENCE = 30.0
"""Seconds to wait for another process that has the file locked."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    run TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID
"""


class SqliteLog:
    """One run's entries in the table ``log``. A committed entry survives the death of any process (kill -9)."""

    immediate = True
    snapshotted = 0

    def __init__(self, path: Path, run: str, *, full_sync: bool = False) -> None:
        """Open, or make, the file.

        ``full_sync`` waits for the disk at every write, so that entries survive the loss of power too.
        """
        self._run = run
        self._lock = threading.Lock()
        self._connection = _connect(path, full_sync=full_sync)

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield the entries above ``after``, in order."""
        for number, (seq, body) in enumerate(
            self._rows("SELECT seq, body FROM log WHERE run = ? AND seq > ? ORDER BY seq", after), start=after + 1
        ):
            if seq != number:
                raise _broken(f"entry {number} of {self._run} is missing")
            yield self._parsed(body)

    def get(self, seq: int) -> Entry | None:
        """Return the entry of that number, or None when the number is free."""
        rows = self._rows("SELECT seq, body FROM log WHERE run = ? AND seq = ?", seq)
        return self._parsed(rows[0][1]) if rows else None

    def create(self, entry: Entry) -> bool:
        """Store the entry if its number is free."""
        try:
            with self._lock:
                self._connection.execute("INSERT INTO log VALUES (?, ?, ?)", (self._run, entry["seq"], to_bytes(entry)))
        except sqlite3.IntegrityError:
            return False
        except sqlite3.Error as error:
            # Only a lock goes away by itself. Who waits for a full disk in silence looks as if it hung.
            raise JournalError(
                "journal.unwritable",
                f"The local record cannot be written: {error}.",
                next_step="Check the disk's free space and the rights of the folder, then resume the run.",
                retry=Retry.LATER if "locked" in str(error) else Retry.NO,
            ) from error
        return True

    def snapshot(self, entries: list[Entry]) -> None:
        """Do nothing: one query reads the whole log."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, query: str, number: int) -> list[tuple[int, bytes]]:
        try:
            with self._lock:
                return self._connection.execute(query, (self._run, number)).fetchall()
        except sqlite3.Error as error:
            raise _broken(str(error)) from error

    def _parsed(self, body: bytes) -> Entry:
        try:
            return from_bytes(body)
        except (ValueError, KeyError, TypeError) as error:
            raise _broken(f"an entry of {self._run}: {error}") from error


def run_ids(path: Path) -> list[str]:
    """Return the ids of all runs in the file, newest first."""
    if not path.exists():
        return []
    connection = _connect(path, full_sync=False)
    try:
        return [row[0] for row in connection.execute("SELECT DISTINCT run FROM log ORDER BY run DESC")]
    finally:
        connection.close()


def journal_mode(path: Path) -> str:
    """Return the SQLite journal mode for that folder: ``wal``, or ``delete`` on a network file system.

    WAL needs shared memory between processes, which network file systems lack (SQLite's own documentation).
    """
    return "delete" if _file_system(path.resolve()) in _NETWORK_FILE_SYSTEMS else "wal"


def _connect(path: Path, *, full_sync: bool) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        mode = journal_mode(path.parent)
        _use_mode(connection, mode)
        connection.execute(f"PRAGMA synchronous = {'FULL' if full_sync or mode == 'delete' else 'NORMAL'}")
        connection.execute(_SCHEMA)
    except sqlite3.Error as error:
        raise JournalError(
            "journal.unwritable",
            f"The local record at {path} cannot be opened: {error}.",
            next_step="Check the folder's rights and free space, or set CLARY_HOME to another folder.",
        ) from error
    return connection


def _use_mode(connection: sqlite3.Connection, mode: str) -> None:
    """Set the journal mode, which the file keeps. A change needs the file for itself, and SQLite does not wait then."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return  # a file system that cannot do it keeps the mode it has, and says nothing


def _broken(reason: str) -> JournalError:
    return JournalError(
        "journal.unreadable",
        f"The local record cannot be read: {reason}.",
        next_step="If a newer Clary wrote it, use that version; else restore the file from a backup.",
        retry=Retry.NO,
    )


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds ``path`` (Linux; elsewhere an empty string)."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split(" ")[1:3] for line in lines]
    holding = [(point, kind) for point, kind in mounts if path == Path(point) or Path(point) in path.parents]
    return max(holding, key=lambda mount: len(mount[0]))[1] if holding else ""
