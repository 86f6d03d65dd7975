"""The store of one machine: an SQLite file in Clary's folder, safe for several processes at once.

Statements are plain SQL with ``:name`` parameters, in the common subset of SQLite and PostgreSQL. The driver here is
the standard library's: importing SQLAlchemy costs a quarter of a second, which every command would pay and which is
most of the time that ``clary stack list`` may take. A team's PostgreSQL can run the same statements through
SQLAlchemy's ``text()``, which takes the same parameters.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clary import config
from clary.control.migrations import STEPS, VERSION
from clary.errors import ConfigError, ConflictError

FILE_NAME = "clary.db"
BUSY_SECONDS = 10.0
"""How long a process waits for another's write before it gives up."""


Connection = sqlite3.Connection
"""What the entity modules take: a connection inside a transaction."""


class Database:
    """One store. Cheap to make; each transaction opens its own connection, so threads and forks are safe."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Read and write as one unit: all of it is stored when the block ends well, nothing otherwise.

        Raises ConflictError ``control.busy`` when another process keeps the store locked for ten seconds, ConfigError
        ``control.unreadable`` for a file that is no store, ``control.newer_store`` for one that a newer Clary made.
        """
        try:
            connection = self._connect()
            try:
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise self._refusal(error) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one consistent state; a writer is not kept waiting. Raises as ``transaction`` does."""
        try:
            connection = self._connect()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            # SQLite would make the file with the umask's mode; its -wal and -shm files take the mode of this one.
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from error
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            if _version(connection) != VERSION:
                self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        _use_write_ahead_log(connection)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            found = _version(connection)  # again, under the lock: another process may have just done it
            if found > VERSION:
                raise ConfigError(
                    "control.newer_store",
                    f"The store {self.path} was made by a newer Clary (schema {found}; this one knows {VERSION}).",
                    next_step="Update Clary, or set CLARY_HOME to another folder.",
                )
            for step in STEPS[found:]:
                for statement in step:
                    if isinstance(statement, str):
                        connection.execute(statement)
                    else:
                        statement(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def _refusal(self, error: sqlite3.Error) -> ConfigError | ConflictError:
        if "locked" in str(error) or "busy" in str(error):
            return ConflictError(
                "control.busy",
                f"Another process keeps the store {self.path} locked.",
                next_step="Try again when it is done; `fuser` with that path names the process.",
            )
        return self._unusable(str(error))

    def _unusable(self, reason: str) -> ConfigError:
        return ConfigError(
            "control.unreadable",
            f"The store {self.path} cannot be used: {reason}.",
            next_step="Check the folder's rights and space; if the file is damaged, move it away. Runs are kept in the "
            "stacks' artifact stores; stacks have to be created again.",
        )


def local() -> Database:
    """Return the store of this machine and person, in ``config.home()``."""
    return Database(config.home() / FILE_NAME)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and one writer work side by side. The mode is kept in the file, so this is done once.

    The change needs the file for itself and SQLite does not wait for that, whatever the timeout: so we do. A file
    system without shared memory (some network mounts) keeps its rollback journal, which is slower and as safe.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
