"""Writing the log of a run: numbers, nonces, fencing, and one write for every record that is ready.

The rules, and why they hold:

- A process reads to the end and stores ``opened`` at the next number. From then on it alone may write results: whoever
  wrote before must pass that number to write again, finds a foreign ``opened`` there, and is fenced.
- A refused write is not proof of losing. The reply of our own write may have been lost, and S3 answers 409 when nothing
  was stored. So after a refusal the number is read: our own nonce is success, a free number is tried again, a foreign
  entry is absorbed and the next number tried.
- Records that arrive while a write is under way go together in the next one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from clary.errors import ClaryError, Fenced, JournalError, Retry, StopRequested
from clary.journal import records
from clary.journal.log import SNAPSHOT_EVERY
from clary.journal.records import new_entry
from clary.journal.state import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.journal.log import Log
    from clary.journal.records import Entry, Record

_PATIENCE = 300.0
"""Seconds for which a write is tried again through outages before the run gives up."""


def store(log: Log, entry: Entry) -> Entry | None:
    """Store an entry at its number, through lost replies and refusals.

    Returns None when the entry is stored, else the foreign entry that holds the number.
    Raises JournalError (``journal.unwritable``) when the store stays out of reach.
    """
    deadline = time.monotonic() + _PATIENCE
    pause = 0.02
    while True:
        try:
            if log.create(entry):
                return None
            found = log.get(entry["seq"])
            if found is not None:
                return None if found["nonce"] == entry["nonce"] else found
        except ClaryError as error:
            if error.retry is Retry.NO or time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise JournalError(
                "journal.unwritable",
                "The record of the run could not be written for five minutes.",
                next_step="Check the bucket and the network; then resume the run: nothing recorded is lost.",
            )
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def append(log: Log, state: RunState, make: Callable[[RunState], list[Record] | None], *, attempt: int = 0) -> bool:
    """Append records from outside a running attempt (a client's): read to the end, store at the next number.

    Args:
        log: where to.
        state: what was read so far; it is brought up to date here.
        make: gives the records for the state that holds at that moment, or None when there is nothing left to write.
        attempt: the attempt on whose behalf this is written, 0 for none.

    Returns whether the records were stored; a number taken by somebody else is read, and ``make`` asked again.
    """
    while True:
        for entry in log.read(state.seq):
            state.apply(entry)
        made = make(state)
        if made is None:
            return False
        entry = new_entry(state.seq + 1, made, attempt=attempt)
        if store(log, entry) is None:
            state.apply(entry)
            return True


class Journal:
    """The one writer of a running attempt. Safe from any thread."""

    def __init__(self, log: Log, attempt: int) -> None:
        self.log = log
        self.attempt = attempt
        self.state = RunState()
        self._entries: list[Entry] = []
        self._condition = threading.Condition()
        self._pending: list[_Ticket] = []
        self._writing = False
        self._ended: BaseException | None = None
        self._snapshot_at = 0
        self.listener: Callable[[Record], None] = lambda _record: None
        """Told of every record written here once it is durable, in the order of the log."""

    def open(self, *, host: str, pid: int) -> RunState:
        """Read the log to its end and take it over. Returns the state to replay.

        The same attempt may open again: SageMaker starts a job's container anew after a spot interruption or a fault of
        its own, and the process before is then gone, or fenced by this one.

        Raises Fenced when a later attempt exists or the run has ended, StopRequested when it was asked to stop.
        """
        for entry in self.log.read():
            self._take(entry)
        self._snapshot_at = self.state.seq
        while True:
            self._check_may_open()
            entry = new_entry(self.state.seq + 1, [], attempt=self.attempt)
            entry["records"].append(records.opened(nonce=entry["nonce"], host=host, pid=pid))
            foreign = store(self.log, entry)
            self._take(foreign or entry)
            if foreign is None:
                return self.state

    def write(self, *ready: Record) -> None:
        """Make records durable; returns when they are. Records of other threads share the write.

        Raises Fenced when another attempt took over, JournalError when the store stays out of reach; either is final.
        """
        ticket = _Ticket(list(ready))
        with self._condition:
            self._pending.append(ticket)
            while not ticket.done and self._writing and self._ended is None:
                self._condition.wait()
            if ticket.done:
                return
            if self._ended is not None:
                raise self._ended
            self._writing = True
            batch, self._pending = self._pending, []
        try:
            ready_now = [record for waiting in batch for record in waiting.records]
            self._commit(ready_now)
            for record in ready_now:
                self.listener(record)
        except (StopRequested, KeyboardInterrupt):
            # A signal broke in. Whether the entry was stored is found out by the next write, which the stop needs.
            with self._condition:
                self._writing = False
            raise
        except BaseException as error:
            self._end(error)
            raise
        with self._condition:
            for waiting in batch:
                waiting.done = True
            self._writing = False
            self._condition.notify_all()
        self._maybe_snapshot()

    def absorb(self) -> None:
        """Read what others wrote meanwhile (answers, a stop request), without writing."""
        with self._condition:
            if self._writing or self._ended is not None:
                return
            self._writing = True
        try:
            for entry in self.log.read(self.state.seq):
                self._take(entry)
                self._check_not_fenced(entry)
        except ClaryError:
            pass  # an outage: the next write decides
        except BaseException as error:
            self._end(error)
            raise
        with self._condition:
            self._writing = False
            self._condition.notify_all()

    def close(self, reason: BaseException) -> None:
        """Refuse all further writes with ``reason``: the run's end is recorded."""
        self._end(reason)

    def _commit(self, batch: list[Record]) -> None:
        while True:
            entry = new_entry(self.state.seq + 1, batch, attempt=self.attempt)
            foreign = store(self.log, entry)
            self._take(foreign or entry)
            if foreign is None:
                return
            self._check_not_fenced(foreign)

    def _take(self, entry: Entry) -> None:
        if not self.log.immediate:
            self._entries.append(entry)  # first, so that a snapshot of all up to ``state.seq`` misses none
        self.state.apply(entry)

    def _end(self, error: BaseException) -> None:
        with self._condition:
            self._ended = error
            self._writing = False
            self._condition.notify_all()

    def _check_may_open(self) -> None:
        state = self.state
        if state.status == "absent":
            raise JournalError(
                "journal.no_such_run",
                "This run has no record.",
                next_step="Check the pointer of the job, and that the bucket is the one the run was submitted to.",
                retry=Retry.NO,
            )
        latest = state.attempt
        if latest is not None and latest.number > self.attempt:
            raise Fenced(f"attempt {latest.number} has taken over from attempt {self.attempt}")
        if state.settled and latest is not None and latest.outcome is not None:
            raise Fenced(f"attempt {self.attempt} is over: the run is {state.status}")
        if state.stop_requested:
            raise StopRequested("the run was stopped before this attempt began")

    def _check_not_fenced(self, foreign: Entry) -> None:
        for record in foreign["records"]:
            if record["kind"] == records.OPENED:
                raise Fenced(f"attempt {foreign['attempt']} has taken over from attempt {self.attempt}")
            if record["kind"] in {records.STOPPED, records.COMPLETED, records.FAILED}:
                raise Fenced(f"the run was ended by attempt {foreign['attempt']}")
            if record["kind"] == records.ATTEMPT_ENDED and record["n"] >= self.attempt:
                raise Fenced(f"attempt {record['n']} was found to be over")

    def _maybe_snapshot(self) -> None:
        if self.log.immediate or self.state.seq - self._snapshot_at < SNAPSHOT_EVERY:
            return
        with self._condition:
            if self.state.seq - self._snapshot_at < SNAPSHOT_EVERY:
                return
            self._snapshot_at = seq = self.state.seq
            entries = [entry for entry in self._entries if entry["seq"] <= seq]
        try:
            self.log.snapshot(lambda: entries, seq)
        except ClaryError:
            pass  # a snapshot only makes reading quicker


class _Ticket:
    """Records of one caller, waiting to be durable."""

    __slots__ = ("done", "records")

    def __init__(self, waiting: list[Record]) -> None:
        self.records = waiting
        self.done = False
