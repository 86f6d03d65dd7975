"""The logs of jobs: a line is an event of a CloudWatch stream, and a row on disk, within a quarter of a second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clary.sandbox.database import Database
    from clary.sandbox.model import Clock

SCHEMA = """
CREATE TABLE IF NOT EXISTS log_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL,
    log_group TEXT NOT NULL, stream TEXT NOT NULL, time INTEGER NOT NULL, message TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS log_events_by_stream ON log_events (account, region, log_group, stream);
"""
FLUSH_SECONDS = 0.2
"""How long complete lines may wait for others before they become events (real time)."""

MAX_EVENT_BYTES = 262_144 - 26
"""CloudWatch Logs: 256 KiB for an event, of which 26 bytes are overhead. A longer line becomes several events."""


class JobLogs:
    """The events that jobs have written, kept beside moto's."""

    def __init__(self, database: Database, make_group: Callable[[str, str, str], None]) -> None:
        self._db = database
        self._make_group = make_group
        self._lock = threading.Lock()

    def append(self, account: str, region: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Write events, each (epoch milliseconds, message), to a stream that is made now if it is new."""
        rows = [(account, region, group, stream, time, message) for time, message in events]
        self._ensure_group(account, region, group)
        with self._lock:
            self._db.many(
                "INSERT INTO log_events (account, region, log_group, stream, time, message) VALUES (?,?,?,?,?,?)", rows
            )
            self._show(account, region, group, stream, events)

    def count(self, account: str, region: str, group: str, stream: str) -> int:
        """Return how many events a stream holds."""
        query = "SELECT count(*) AS n FROM log_events WHERE account=? AND region=? AND log_group=? AND stream=?"
        row = self._db.row(query, (account, region, group, stream))
        return int(row["n"]) if row else 0

    @staticmethod
    def has_group(account: str, region: str, group: str) -> bool:
        """Return whether a log group exists."""
        from moto.logs.models import logs_backends

        return group in logs_backends[account][region].groups

    def _ensure_group(self, account: str, region: str, group: str) -> None:
        """Make the group by a recorded request, so that what people set on it later finds it after a restart."""
        if not self.has_group(account, region, group):
            self._make_group(account, region, group)

    @staticmethod
    def _show(account: str, region: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        from moto.logs.models import logs_backends

        backend = logs_backends[account][region]
        backend.ensure_log_group(group)
        backend.ensure_log_stream(group, stream)
        # Not through the backend's put_log_events: it refuses times that a clock at speed is ahead of real time.
        backend.groups[group].streams[stream].put_log_events(
            [{"timestamp": time, "message": message} for time, message in events]
        )

    def forget(self, operation: str, document: Mapping[str, Any], account: str, region: str) -> None:
        """Follow a successful DeleteLogGroup or DeleteLogStream."""
        place = (account, region, document.get("logGroupName"))
        if operation == "DeleteLogGroup":
            self._db.execute("DELETE FROM log_events WHERE account=? AND region=? AND log_group=?", place)
        elif operation == "DeleteLogStream":
            self._db.execute(
                "DELETE FROM log_events WHERE account=? AND region=? AND log_group=? AND stream=?",
                (*place, document.get("logStreamName")),
            )

    def restore(self) -> None:
        """Give moto back every event."""
        streams: dict[tuple[str, str, str, str], list[tuple[int, str]]] = {}
        for row in self._db.rows("SELECT * FROM log_events ORDER BY id"):
            place = (row["account"], row["region"], row["log_group"], row["stream"])
            streams.setdefault(place, []).append((row["time"], row["message"]))
        for place, events in streams.items():
            self._show(*place, events)


class StreamSink:
    """One stream as a job's container writes to it (``model.LogSink``). Takes bytes as they come, cut anywhere."""

    def __init__(self, logs: JobLogs, clock: Clock, account: str, region: str, group: str, stream: str) -> None:
        self._logs = logs
        self._clock = clock
        self._place = (account, region, group, stream)
        # A container that outlived the sandbox is read again from its first byte: what is kept already is skipped.
        self._known = logs.count(*self._place)
        self._lock = threading.Lock()
        self._rest = b""
        self._lines: list[tuple[int, str]] = []
        self._timer: threading.Timer | None = None
        self._closed = False

    def write(self, data: bytes) -> None:
        """Take output; complete lines become events within a quarter of a second."""
        now = int(self._clock.now() * 1000)
        with self._lock:
            *lines, self._rest = (self._rest + data).split(b"\n")
            while len(self._rest) > MAX_EVENT_BYTES:
                lines, self._rest = [*lines, self._rest[:MAX_EVENT_BYTES]], self._rest[MAX_EVENT_BYTES:]
            self._take(lines, now)
            if self._lines and self._timer is None and not self._closed:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def _take(self, lines: Sequence[bytes], now: int) -> None:
        for line in lines:
            for start in range(0, max(len(line), 1), MAX_EVENT_BYTES):
                if self._known > 0:
                    self._known -= 1
                    continue
                text = line[start : start + MAX_EVENT_BYTES].decode("utf-8", "replace").rstrip("\r")
                self._lines.append((now, text or " "))  # CloudWatch refuses empty messages; SageMaker writes a space

    def _flush(self) -> None:
        with self._lock:
            self._timer = None
            events, self._lines = self._lines, []
            if events:
                self._logs.append(*self._place, events)

    def close(self) -> None:
        """Flush what is left, an unfinished line included."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            if self._rest:
                self._take([self._rest], int(self._clock.now() * 1000))
                self._rest = b""
        self._flush()
