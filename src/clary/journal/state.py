"""What the log of a run amounts to: a pure fold over its entries. Everybody who reads a log reads it through this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clary.journal import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clary.journal.records import Entry, Record

SETTLED = frozenset({"completed", "failed", "stopped", "timed_out", "interrupted", "lost"})
"""States in which nothing runs for the run any more."""
WAITING = "waiting"
"""Nothing runs for the run now; it goes on by itself when what it waits for is there."""
_GOES_ON = frozenset({"failed", "interrupted", "lost"})
"""Ends that were seen from outside after which a reserved attempt goes on: the one before it was cut off."""


@dataclass
class Attempt:
    """One attempt as the log knows it."""

    number: int
    job: str | None
    request: Record | None
    spec: Record
    on_change: str
    claimed_at: float
    opened_at: float | None = None
    host: str | None = None
    pid: int | None = None
    ended_at: float | None = None
    outcome: str | None = None
    job_view: Record | None = None
    not_before: float | None = None
    """When a reserved attempt begins (epoch seconds): one that the attempt before it claimed, to be woken by."""
    reserved_by: int = 0
    """Number of that attempt before it."""
    void: bool = False
    """Whether the attempt that reserved it went on itself, so that it must not begin."""


@dataclass
class RunState:
    """The state of a run after the entries seen so far."""

    run: str = ""
    flow: str = ""
    stack: str = ""
    by: str = ""
    spec: Record = field(default_factory=dict)
    inputs: Record = field(default_factory=dict)
    key: str | None = None
    """Under which it was started."""
    replay_of: Record | None = None
    """Of which run it is a replay, and how; None for a run of its own."""
    status: str = "absent"
    """Of the state machine in the design; ``absent`` before the first entry."""
    seq: int = 0
    """Of the last entry seen."""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    attempts: dict[int, Attempt] = field(default_factory=dict)
    calls: dict[str, Record] = field(default_factory=dict)
    """Recorded calls by path, in the order of the log: results, and failures that the flow went on after."""
    values: dict[str, Any] = field(default_factory=dict)
    """Recorded readings of clock and chance, by path."""
    tries: dict[str, Record] = field(default_factory=dict)
    """The last failed try of calls that are tried again, by path."""
    failed_tries: dict[str, list[Record]] = field(default_factory=dict)
    """The failed tries after which another followed, by path: ``{n, type, message, at}``, each in order."""
    flow_retry: Record | None = None
    """The last retry of the flow's body in this attempt."""
    waits: dict[str, Record] = field(default_factory=dict)
    """What the flow has asked, by path, in order."""
    answers: dict[str, Record] = field(default_factory=dict)
    """How waits ended, by path; the first answer holds."""
    timers: dict[str, float] = field(default_factory=dict)
    """Until when the flow sleeps, by path."""
    platform_retries: int = 0
    """How many attempts have followed because the platform ended the one before."""
    suspension: Record | None = None
    """``{on, until}`` while the run is ``waiting``."""
    call_jobs: dict[str, list[Record]] = field(default_factory=dict)
    """Jobs of calls that run in one of their own, by path, in order. ``end`` is what is known of a job's end; ``taken``
    says that its outcome is in the record, so that a further try of the call needs a further job."""
    saved: dict[str, Record] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)
    stop_requested: bool = False
    output: Record | None = None
    failure: Record | None = None
    """``{cause, error | summary…}`` of the last attempt that failed."""
    opener: tuple[int, str] | None = None
    """(attempt, nonce) of whoever may write now."""

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt; one that is reserved counts once it has begun, or the one that reserved it is over."""
        latest = max((one for one in self.attempts.values() if not one.void), key=lambda one: one.number, default=None)
        before = None if latest is None else self.attempts.get(latest.reserved_by)
        waits_its_turn = before is not None and before.outcome is None and latest is self.reserved(before.number)
        return before if waits_its_turn else latest

    def reserved(self, number: int) -> Attempt | None:
        """Return the attempt that an attempt has reserved to be followed by, while it has neither begun nor is void."""
        for one in self.attempts.values():
            if one.reserved_by == number and number and not one.void and one.opened_at is None:
                return one
        return None

    @property
    def settled(self) -> bool:
        """Whether nothing runs for this run any more, as far as the log knows."""
        return self.status in SETTLED

    @property
    def idle(self) -> bool:
        """Whether nothing runs for this run now: it is settled, or waits."""
        return self.settled or self.status == WAITING

    def due(self, now: float) -> bool:
        """Tell whether a waiting run can go on: an answer is there, or its time has come (epoch seconds)."""
        waits = self.suspension
        if waits is None:
            return False
        return any(path in self.answers for path in waits["on"]) or (waits["until"] or now + 1) <= now

    def open_waits(self) -> list[Record]:
        """Return what the flow has asked and nobody has answered, in order."""
        return [wait for path, wait in self.waits.items() if path not in self.answers]

    def open_call_jobs(self) -> list[Record]:
        """Return the jobs of calls that may be under way, as far as the log knows."""
        every = [job for jobs in self.call_jobs.values() for job in jobs]
        return [job for job in every if not job["taken"] and job["end"] is None]

    def apply(self, entry: Entry) -> None:
        """Take in the next entry. Unknown kinds of record are left alone: a later version may have written them."""
        for record in entry["records"]:
            handler = _HANDLERS.get(record["kind"])
            if handler is not None:
                handler(self, record, entry)
        self.seq = entry["seq"]  # last: a signal that breaks in leaves the entry to be taken in again


def fold(entries: Iterable[Entry]) -> RunState:
    """Return the state after all the entries."""
    state = RunState()
    for entry in entries:
        state.apply(entry)
    return state


def _created(state: RunState, record: Record, entry: Entry) -> None:
    state.run, state.flow, state.stack = record["run"], record["flow"], record["stack"]
    state.spec, state.inputs, state.by = record["spec"], record["inputs"], record["by"]
    state.replay_of = record.get("replay_of")
    state.key = record.get("key")
    state.created_at = entry["at"]
    state.status = "preparing"


def _attempt(state: RunState, record: Record, entry: Entry) -> None:
    state.attempts[record["n"]] = Attempt(
        number=record["n"],
        job=record["job"],
        request=record["request"],
        spec=record["spec"],
        on_change=record["on_change"],
        claimed_at=entry["at"],
        not_before=record.get("not_before"),
    )
    if "not_before" in record:
        state.attempts[record["n"]].reserved_by = entry["attempt"]
        return  # the attempt that reserves it still runs
    state.status = "submitted"
    state.ended_at = None
    state.stop_requested = False
    state.flow_retry = None
    _forget_failed_calls(state)


def _forget_failed_calls(state: RunState) -> None:
    """Let the calls that made the last attempt fail run again; failures that the flow survived stay recorded."""
    _run_again(state, (state.failure or {}).get("calls", ()))
    state.failure = None


def _run_again(state: RunState, paths: Iterable[str]) -> None:
    for path in paths:
        state.tries.pop(path, None)
        state.failed_tries.pop(path, None)
        if state.calls.get(path, {}).get("kind") == records.CALL_FAILED:
            del state.calls[path]


def _opened(state: RunState, record: Record, entry: Entry) -> None:
    state.opener = (entry["attempt"], record["nonce"])
    state.started_at = state.started_at or entry["at"]
    state.status = "stopping" if state.stop_requested else "running"
    state.suspension = None
    _forget_failed_calls(state)  # of an earlier attempt that failed after this one was claimed
    attempt = state.attempts.get(entry["attempt"])
    if attempt is not None:
        attempt.opened_at, attempt.host, attempt.pid = entry["at"], record["host"], record["pid"]
        attempt.outcome = attempt.ended_at = None  # it was suspended, and goes on after all
        _close_the_one_before(state, attempt, entry["at"])
    reserved = state.reserved(entry["attempt"])
    if reserved is not None:
        reserved.void = True
        _close(reserved, "stopped", entry["at"])


def _close_the_one_before(state: RunState, attempt: Attempt, at: float) -> None:
    """An attempt that has begun was reserved by one that was cut off before it could record its own end."""
    before = state.attempts.get(attempt.reserved_by)
    if before is not None and before.outcome is None:
        _close(before, "interrupted", at)


def _call(state: RunState, record: Record, entry: Entry) -> None:
    state.calls.pop(record["path"], None)  # a call that ran again stands where it was recorded last
    state.calls[record["path"]] = {**record, "attempt": entry["attempt"]}
    state.tries.pop(record["path"], None)
    _take_job(state, record["path"])


def _call_job(state: RunState, record: Record, entry: Entry) -> None:
    job = {**record, "attempt": entry["attempt"], "at": entry["at"], "taken": False, "end": None}
    state.call_jobs.setdefault(record["path"], []).append(job)


def _call_job_ended(state: RunState, record: Record, _entry: Entry) -> None:
    for job in state.call_jobs.get(record["path"], ()):
        if job["n"] == record["n"]:
            job["end"] = record


def _take_job(state: RunState, path: str) -> None:
    """Let a further try of a call have a further job: the outcome of the last one is in the record."""
    for job in state.call_jobs.get(path, ())[-1:]:
        job["taken"] = True


def _value(state: RunState, record: Record, _entry: Entry) -> None:
    state.values[record["path"]] = record["value"]


def _saved(state: RunState, record: Record, _entry: Entry) -> None:
    state.saved[record["name"]] = record


def _logged(state: RunState, record: Record, _entry: Entry) -> None:
    state.logged.update(record["values"])


def _try_failed(state: RunState, record: Record, entry: Entry) -> None:
    _run_again(state, record["calls"])
    state.tries[record["path"]] = record
    error = record["error"]
    failed = {"n": record["n"], "type": error["type"], "message": error["message"], "at": entry["at"]}
    earlier = state.failed_tries.get(record["path"], []) if record["n"] > 1 else []
    state.failed_tries[record["path"]] = [one for one in earlier if one["n"] < record["n"]] + [failed]
    _take_job(state, record["path"])


def _flow_retried(state: RunState, record: Record, _entry: Entry) -> None:
    _run_again(state, record["calls"])
    state.flow_retry = record


def _wait(state: RunState, record: Record, entry: Entry) -> None:
    state.waits.setdefault(record["path"], {**record, "asked_at": entry["at"]})


def _answer(state: RunState, record: Record, entry: Entry) -> None:
    state.answers.setdefault(record["path"], {**record, "at": entry["at"]})


def _timer(state: RunState, record: Record, _entry: Entry) -> None:
    state.timers.setdefault(record["path"], record["until"])


def _suspended(state: RunState, record: Record, entry: Entry) -> None:
    state.status = WAITING
    state.suspension = record
    state.platform_retries = record.get("retry") or state.platform_retries
    state.opener = None
    _close(state.attempts.get(entry["attempt"]), WAITING, entry["at"])


def _stop_requested(state: RunState, _record: Record, _entry: Entry) -> None:
    state.stop_requested = True
    if not state.settled:
        state.status = "stopping"


def _ended(status: str) -> Callable[[RunState, Record, Entry], None]:
    def apply(state: RunState, record: Record, entry: Entry) -> None:
        state.status = status
        state.ended_at = entry["at"]
        state.opener = None
        if status == "completed":
            state.output = record["output"]
        if status == "failed":
            state.failure = record
        _close(state.attempts.get(entry["attempt"]), status, entry["at"])

    return apply


def _close(attempt: Attempt | None, outcome: str, at: float) -> None:
    if attempt is not None:
        attempt.outcome, attempt.ended_at = outcome, at


def _attempt_ended(state: RunState, record: Record, entry: Entry) -> None:
    """Take what an observer saw. What the run itself wrote at its end outranks it; a later attempt makes it history."""
    attempt = state.attempts.get(record["n"])
    if attempt is None:
        return
    attempt.job_view = record["job"] or attempt.job_view
    if attempt.outcome is None:
        _close(attempt, record["outcome"], entry["at"])
    reserved = None if state.idle else state.reserved(record["n"])
    if reserved is not None and record["outcome"] in _GOES_ON:
        state.status, state.opener = WAITING, None
        state.suspension = records.suspended([], reserved.not_before)
        return
    latest = max(one.number for one in state.attempts.values() if not (one.void or one is reserved))
    if record["n"] == latest and not state.settled:
        state.status = record["outcome"]
        state.failure = record["failure"]
        state.ended_at = entry["at"]
        state.opener = None


_HANDLERS: dict[str, Callable[[RunState, Record, Entry], None]] = {
    records.CREATED: _created,
    records.ATTEMPT: _attempt,
    records.OPENED: _opened,
    records.CALL: _call,
    records.CALL_FAILED: _call,
    records.VALUE: _value,
    records.SAVED: _saved,
    records.LOGGED: _logged,
    records.STOP_REQUESTED: _stop_requested,
    records.STOPPED: _ended("stopped"),
    records.FAILED: _ended("failed"),
    records.COMPLETED: _ended("completed"),
    records.ATTEMPT_ENDED: _attempt_ended,
    records.TRY_FAILED: _try_failed,
    records.FLOW_RETRIED: _flow_retried,
    records.WAIT: _wait,
    records.ANSWER: _answer,
    records.TIMER: _timer,
    records.SUSPENDED: _suspended,
    records.CALL_JOB: _call_job,
    records.CALL_JOB_ENDED: _call_job_ended,
}
