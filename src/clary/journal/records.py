"""What stands in the log: entries, and the records they carry. Plain data, so that any reader of any age can read it.

An entry is what one write stores: ``{v, seq, nonce, attempt, at, records}``. The nonce tells a writer its own entry
from a foreign one. ``attempt`` is 0 for entries that no attempt wrote (a client's). Times are epoch seconds, UTC.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, NotRequired, TypeAlias, TypedDict

VERSION = 1
_compact = json.JSONEncoder(separators=(",", ":")).encode

Record: TypeAlias = dict[str, Any]
"""One record: ``kind`` and what that kind carries."""

CREATED = "created"
ATTEMPT = "attempt"
OPENED = "opened"
CALL = "call"
CALL_FAILED = "call_failed"
VALUE = "value"
SAVED = "saved"
LOGGED = "logged"
STOP_REQUESTED = "stop_requested"
STOPPED = "stopped"
FAILED = "failed"
COMPLETED = "completed"
ATTEMPT_ENDED = "attempt_ended"
TRY_FAILED = "try_failed"
FLOW_RETRIED = "flow_retried"
WAIT = "wait"
ANSWER = "answer"
TIMER = "timer"
SUSPENDED = "suspended"
CALL_JOB = "call_job"
CALL_JOB_ENDED = "call_job_ended"

ANSWERED, DEFAULTED, EXPIRED, ABORTED = "answered", "defaulted", "expired", "aborted"
"""How a wait came to its end."""


class Entry(TypedDict):
    """What one write of the log stores."""

    v: int
    seq: int
    nonce: str
    attempt: int
    at: float
    records: list[Record]
    note: NotRequired[str]


def new_entry(seq: int, records: list[Record], *, attempt: int = 0) -> Entry:
    """Return an entry with a nonce of its own."""
    return {
        "v": VERSION,
        "seq": seq,
        "nonce": os.urandom(16).hex(),
        "attempt": attempt,
        "at": time.time(),
        "records": records,
    }


def to_bytes(entry: Entry) -> bytes:
    """Return the entry as it is stored: compact JSON, ASCII, so that no text can be unencodable."""
    return _compact(entry).encode()


def from_bytes(data: bytes) -> Entry:
    """Read an entry; raises ValueError for bytes that are none, or of a later version."""
    entry: Entry = json.loads(data)
    if entry["v"] > VERSION:
        raise ValueError(f"written by a later version of Clary (format {entry['v']}, this reads {VERSION})")
    return entry


def created(
    run: str,
    *,
    flow: str,
    stack: str,
    spec: Record,
    inputs: Record,
    by: str,
    replay_of: Record | None = None,
    key: str | None = None,
) -> Record:
    """A run exists. ``spec`` says what runs (digest and place), ``inputs`` are encoded values by parameter name.

    ``replay_of`` says of which run it is a replay, and how (``clary.engine.replaying``); ``key`` under which key it was
    started.
    """
    made = {"kind": CREATED, "run": run, "flow": flow, "stack": stack, "spec": spec, "inputs": inputs, "by": by}
    more = {"replay_of": replay_of, "key": key}
    return made | {name: value for name, value in more.items() if value is not None}


def attempt(
    number: int,
    *,
    job: str | None,
    request: Record | None,
    spec: Record,
    on_change: str = "error",
    not_before: float | None = None,
) -> Record:
    """An attempt is claimed: its job's name and its full request, stored before anything is asked of SageMaker.

    ``not_before`` (epoch seconds): the running attempt reserves the next one, which is to begin at that time.
    """
    claim: Record = {
        "kind": ATTEMPT,
        "n": number,
        "job": job,
        "request": request,
        "spec": spec,
        "on_change": on_change,
    }
    return claim if not_before is None else {**claim, "not_before": not_before}


def opened(*, nonce: str, host: str, pid: int) -> Record:
    """A process of the entry's attempt begins to write; every earlier writer is fenced from here on."""
    return {"kind": OPENED, "nonce": nonce, "host": host, "pid": pid}


def stop_requested(by: str) -> Record:
    """Somebody asked the run to stop."""
    return {"kind": STOP_REQUESTED, "by": by}


def stopped(reason: str) -> Record:
    """The run has stopped; no process may write for it any more until a new attempt opens the log."""
    return {"kind": STOPPED, "reason": reason}


def failed(error: Record, calls: list[str], cause: str) -> Record:
    """The flow's body raised. ``calls`` are the checkpoint calls whose failure it was: they run again on resume."""
    return {"kind": FAILED, "error": error, "calls": calls, "cause": cause}


def completed(output: Record) -> Record:
    """The flow's body returned; the encoded value."""
    return {"kind": COMPLETED, "output": output}


def try_failed(path: str, number: int, error: Record, calls: list[str], next_at: float) -> Record:
    """A try of a call has failed and another follows at ``next_at``. ``calls`` below it that failed run again."""
    return {"kind": TRY_FAILED, "path": path, "n": number, "error": error, "calls": calls, "next_at": next_at}


def flow_retried(number: int, error: Record, calls: list[str], next_at: float) -> Record:
    """The flow's body raised and runs again at ``next_at``, in the same attempt. ``calls`` that failed run again."""
    return {"kind": FLOW_RETRIED, "n": number, "error": error, "calls": calls, "next_at": next_at}


def wait(path: str, name: str, question: str, **details: Any) -> Record:
    """The flow waits for an answer. ``details``: schema, expires_at, default, reminder, metadata."""
    return {"kind": WAIT, "path": path, "name": name, "question": question, **details}


def answer(path: str, how: str, value: Any = None, by: str = "") -> Record:
    """A wait is over; the first answer on record holds. ``value`` is plain data."""
    return {"kind": ANSWER, "path": path, "how": how, "value": value, "by": by}


def timer(path: str, until: float) -> Record:
    """The flow sleeps until then."""
    return {"kind": TIMER, "path": path, "until": until}


def suspended(on: list[str], until: float | None, retry: int = 0) -> Record:
    """The attempt has ended, nothing runs, and the run goes on when one of ``on`` is answered, or at ``until``.

    ``retry`` counts the attempts that follow because the platform, not the flow, ended the one before.
    """
    return {"kind": SUSPENDED, "on": on, "until": until, "retry": retry}


def call_job(path: str, number: int, job: str, *, inputs: Record, source: str) -> Record:
    """A call is to run in a job of its own, the ``number``-th for it; stored before anything is asked of SageMaker."""
    return {"kind": CALL_JOB, "path": path, "n": number, "job": job, "inputs": inputs, "source": source}


def call_job_ended(path: str, number: int, outcome: str, **facts: Any) -> Record:
    """The job of a call is over. ``facts``: instance_type, instance_count, seconds, as far as they are known."""
    return {"kind": CALL_JOB_ENDED, "path": path, "n": number, "outcome": outcome, **facts}


def attempt_ended(number: int, outcome: str, failure: Record | None, job: Record | None = None) -> Record:
    """An attempt is known to be over: what an observer saw of its job or process."""
    return {"kind": ATTEMPT_ENDED, "n": number, "outcome": outcome, "failure": failure, "job": job}
