"""The jobs, their tags and the events not yet delivered: SageMaker's own state, in SQLite, synced at every commit.

A change of a job, and the event that tells of it, are one transaction. The event is delivered afterwards from the table
``outbox`` (see ``events``), so a kill between the two delivers it late, never never.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sagemaker.failures import TERMINAL
from clary.sandbox.database import Database
from clary.sandbox.model import Clock, Job, JobKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

BEFORE_STOPPING = frozenset({"Starting", "Downloading", "Training"})
"""Secondary statuses that a stopping job does not enter any more, even if that was decided before the stop came."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    arn TEXT NOT NULL UNIQUE, request TEXT NOT NULL, describe TEXT NOT NULL, version INTEGER NOT NULL,
    status TEXT NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    UNIQUE (kind, account, region, name)
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status);
CREATE TABLE IF NOT EXISTS tags (
    arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    detail_type TEXT NOT NULL, arn TEXT NOT NULL, time REAL NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS quotas (
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (account, region, name)
) WITHOUT ROWID;
"""


class NameTaken(Exception):  # noqa: N818 - says what happened; the API answers ResourceInUse
    """A job of that kind and name exists in this account and region; ``arn`` is its ARN."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn


@dataclass(frozen=True)
class Event:
    """One state change that is still to be told: the job's describe payload and its tags at that moment."""

    id: int
    account: str
    region: str
    name: str
    detail_type: str
    arn: str
    time: float
    detail: Mapping[str, Any]


class SqliteJobStore:
    """The ``JobStore`` of ``model``. Every call is safe from any thread and durable when it returns."""

    def __init__(self, path: Path, clock: Callable[[float], Clock]) -> None:
        self._db = Database(path, _SCHEMA, version=1, durable=True)
        row = self._db.row("SELECT max(modified) AS latest FROM jobs")
        self._clock = clock(float(row["latest"] or 0.0) if row else 0.0)
        self._events_waiting = threading.Event()

    @property
    def database(self) -> Database:
        """The file, for what else is kept beside the jobs (quotas)."""
        return self._db

    @property
    def clock(self) -> Clock:
        """The clock that stamps the changes."""
        return self._clock

    # -- jobs

    def create(self, job: Job, tags: Mapping[str, str], *, check: Callable[[], None] = lambda: None) -> Job:
        """Store a new job and its first event.

        ``check`` runs in the same transaction (quota against live usage) and refuses by raising. Raises NameTaken when
        the name is in use.
        """
        now = float(job.describe["CreationTime"])
        with self._db.transaction():
            taken = self.get(job.kind, job.name, account=job.account, region=job.region)
            if taken is not None:
                raise NameTaken(taken.arn)
            check()
            self._db.execute(
                "INSERT INTO jobs"
                " (kind, account, region, name, arn, request, describe, version, status, created, modified)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    job.kind.value,
                    job.account,
                    job.region,
                    job.name,
                    job.arn,
                    json.dumps(job.request),
                    json.dumps(job.describe),
                    job.version,
                    job.status,
                    now,
                    now,
                ),
            )
            self.add_tags(job.arn, tags)
            self._record_event(job)
        self._events_waiting.set()
        return job

    def get(self, kind: JobKind, name: str, *, account: str, region: str) -> Job | None:
        """Return the job, or None."""
        row = self._db.row(
            "SELECT * FROM jobs WHERE kind=? AND account=? AND region=? AND name=?", (kind.value, account, region, name)
        )
        return _job(row) if row else None

    def find(self, arn: str) -> Job | None:
        """Return the job with that ARN, or None."""
        row = self._db.row("SELECT * FROM jobs WHERE arn=?", (arn,))
        return _job(row) if row else None

    def update(self, job: Job, changes: Mapping[str, Any]) -> Job:
        """Merge ``changes`` into ``describe`` and return the new job; a value of None removes the member.

        A terminal status is never left: a change that would do so is ignored as a whole.
        """
        with self._db.transaction():
            return self._change(job, lambda describe: _merged(describe, changes))

    def transition(self, job: Job, secondary: str, message: str, *, status: str | None = None, **changes: Any) -> Job:
        """Enter a new secondary status, see ``model.JobStore``; the same one again only changes the message."""

        def apply(describe: Mapping[str, Any]) -> dict[str, Any]:
            new = _merged(describe, changes)
            if status is not None:
                new[_status_member(job.kind)] = status
            stopping = new[_status_member(job.kind)] == "Stopping"
            if job.kind is JobKind.TRAINING and not (stopping and secondary in BEFORE_STOPPING):
                history = [dict(entry) for entry in new.get("SecondaryStatusTransitions", [])]
                new["SecondaryStatus"] = secondary
                new["SecondaryStatusTransitions"] = _entered(history, secondary, message, self._clock.now())
            return new

        with self._db.transaction():
            return self._change(job, apply)

    def _change(self, job: Job, apply: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Job:
        current = self.get(job.kind, job.name, account=job.account, region=job.region)
        if current is None or current.arn != job.arn:
            raise KeyError(f"There is no {job.kind.value} job {job.name!r}.")
        describe = apply(current.describe)
        status = describe[_status_member(job.kind)]
        if current.status in TERMINAL and status != current.status:
            return current
        describe["LastModifiedTime"] = now = self._clock.now()
        changed = Job(
            kind=current.kind,
            name=current.name,
            arn=current.arn,
            account=current.account,
            region=current.region,
            request=current.request,
            describe=describe,
            version=current.version + 1,
        )
        self._db.execute(
            "UPDATE jobs SET describe=?, version=?, status=?, modified=? WHERE arn=?",
            (json.dumps(describe), changed.version, status, now, job.arn),
        )
        if (status, describe.get("SecondaryStatus")) != (current.status, current.describe.get("SecondaryStatus")):
            self._record_event(changed)
            self._events_waiting.set()
        return changed

    def delete(self, job: Job) -> None:
        """Forget a job and its tags; its name may be used again."""
        with self._db.transaction():
            self._db.execute("DELETE FROM jobs WHERE arn=?", (job.arn,))
            self._db.execute("DELETE FROM tags WHERE arn=?", (job.arn,))

    def unfinished(self) -> Sequence[Job]:
        """Return every job that is not in a terminal status, oldest first."""
        rows = self._db.rows("SELECT * FROM jobs WHERE status NOT IN ('Completed','Failed','Stopped') ORDER BY id")
        return [_job(row) for row in rows]

    def select(self, kind: JobKind, account: str, region: str) -> Sequence[Job]:
        """Return every job of a kind in an account and region, oldest first."""
        rows = self._db.rows(
            "SELECT * FROM jobs WHERE kind=? AND account=? AND region=? ORDER BY id", (kind.value, account, region)
        )
        return [_job(row) for row in rows]

    # -- tags

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource, by key."""
        return {
            row["key"]: row["value"] for row in self._db.rows("SELECT * FROM tags WHERE arn=? ORDER BY key", (arn,))
        }

    def add_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set tags; a key that exists gets the new value."""
        self._db.many(
            "INSERT INTO tags VALUES (?,?,?) ON CONFLICT (arn, key) DO UPDATE SET value=excluded.value",
            [(arn, key, value) for key, value in tags.items()],
        )

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """Remove tags; keys that do not exist are ignored."""
        self._db.many("DELETE FROM tags WHERE arn=? AND key=?", [(arn, key) for key in keys])

    # -- events

    def _record_event(self, job: Job) -> None:
        detail = {**job.request, **job.describe, "Tags": self.tags(job.arn)}
        detail[f"{job.kind.value.capitalize()}JobArn"] = job.arn
        self._db.execute(
            "INSERT INTO outbox (account, region, name, detail_type, arn, time, detail) VALUES (?,?,?,?,?,?,?)",
            (
                job.account,
                job.region,
                job.name,
                f"SageMaker {job.kind.value.capitalize()} Job State Change",
                job.arn,
                float(job.describe["LastModifiedTime"]),
                json.dumps(detail),
            ),
        )

    def undelivered(self) -> Sequence[Event]:
        """Return the events that nobody has delivered yet, in order."""
        return [
            Event(**{**dict(row), "detail": json.loads(row["detail"])})
            for row in self._db.rows("SELECT * FROM outbox ORDER BY id")
        ]

    def delivered(self, event: Event) -> None:
        """Forget an event."""
        self._db.execute("DELETE FROM outbox WHERE id=?", (event.id,))

    def wait_for_event(self, timeout: float) -> None:
        """Wait that many real seconds at most for a new event."""
        self._events_waiting.wait(timeout)
        self._events_waiting.clear()

    def wake(self) -> None:
        """End a ``wait_for_event`` early."""
        self._events_waiting.set()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _job(row: sqlite3.Row) -> Job:
    return Job(
        kind=JobKind(row["kind"]),
        name=row["name"],
        arn=row["arn"],
        account=row["account"],
        region=row["region"],
        request=json.loads(row["request"]),
        describe=json.loads(row["describe"]),
        version=row["version"],
    )


def _status_member(kind: JobKind) -> str:
    return f"{kind.value.capitalize()}JobStatus"


def _merged(describe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**describe, **changes}.items() if value is not None}


def _entered(history: list[dict[str, Any]], secondary: str, message: str, now: float) -> list[dict[str, Any]]:
    """Return the transitions after entering ``secondary``; the last one of a finished job is closed at once."""
    if history and history[-1]["Status"] == secondary:
        history[-1]["StatusMessage"] = message
        return history
    if history:
        history[-1].setdefault("EndTime", now)
    entry = {"Status": secondary, "StartTime": now, "StatusMessage": message}
    if secondary in TERMINAL or secondary in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded"):
        entry["EndTime"] = now
    return [*history, entry]
