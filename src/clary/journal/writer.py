"""Writing the log of a run: numbers, nonces, fencing, and one write for every record that is ready.

The rules, and why they hold:

- A process reads to the end and stores ``opened`` at the next number. From then on it alone may write results: whoever
  wrote before must pass that number to write again, finds a foreign ``opened`` there, and is fenced.
- A refused write is not proof of losing. The reply of our own write may have been lost, and S3 answers 409 when nothing
  was stored. So after a refusal the number is read: our own nonce is success, a free number is tried again, a foreign
  entry is absorbed and the next number tried.
- Records that arrive while a write is under way go together in the next one.
- A signal handler may raise in the main thread at any point. What it leaves behind is always either a write not begun,
  or a write under way that the next one finishes: nothing is stored twice, and nobody waits for a thread that has gone.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

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
    """The one writer of a running attempt. Safe from any thread, and from signals that raise in the main thread."""

    def __init__(self, log: Log, attempt: int) -> None:
        self.log = log
        self.attempt = attempt
        self.state = RunState()
        self.ended: BaseException | None = None
        """Why nothing more may be written: fenced, out of reach, or the run's end is recorded."""
        self.listener: Callable[[Record], None] = lambda _record: None
        """Told of every record written here once it is durable, in the order of the log."""
        self.is_open = False
        """Whether this process has taken the log over."""
        self._turn = threading.Lock()
        """Held by the one that writes, for all who wait."""
        self._pending: list[_Ticket] = []
        self._flight: _Flight | None = None
        """The write under way. A signal may break into it; then nobody knows whether it was stored, and the next
        write first stores this very entry again, which does no harm if it was."""
        self._entries: list[Entry] = []
        """Those of the snapshot to come; none where the log needs no snapshots."""

    @property
    def waiting(self) -> int:
        """How many callers have records that are not durable yet."""
        return sum(not ticket.done for ticket in self._pending)

    def open(self, *, host: str, pid: int) -> RunState:
        """Read the log to its end and take it over. Returns the state to replay.

        The same attempt may open again: SageMaker starts a job's container anew after a spot interruption or a fault of
        its own, and the process before is then gone, or fenced by this one.

        Raises Fenced when a later attempt exists or the run has ended, StopRequested when it was asked to stop.
        """
        with self._turn:
            for entry in self.log.read():
                self._take(entry)
            self._entries = [entry for entry in self._entries if entry["seq"] > self.log.snapshotted]
            opening = records.opened(nonce=os.urandom(16).hex(), host=host, pid=pid)
            while True:
                self._check_may_open()
                self._flight = _Flight(self._next_entry([opening]), [])
                if self._land(self._flight) is None:
                    return self.state
                self._flight = None  # whether it may still be opened is another question now

    def write(self, *ready: Record) -> None:
        """Make records durable; returns when they are. Records of other threads share the write.

        Raises Fenced when another attempt took over, JournalError when the store stays out of reach; either is final.
        """
        ticket = _Ticket(list(ready))
        self._pending.append(ticket)
        try:
            with self._turn:
                while not ticket.done:
                    self._write_what_waits()
        except BaseException:
            ticket.left = True
            raise
        self._maybe_snapshot()

    def absorb(self) -> None:
        """Read what others wrote meanwhile (answers, a stop request), without writing.

        Raises Fenced like ``write``. An outage is left to the next write.
        """
        with self._turn:
            if self.ended is not None:
                raise self.ended
            try:
                self._settle()
                for entry in self.log.read(self.state.seq):
                    self._take(entry)
                    if self.is_open:
                        self._check_not_fenced(entry)
            except Fenced as error:
                self.ended = error
                raise
            except ClaryError:
                pass

    def close(self, reason: BaseException) -> None:
        """Refuse all further writes with ``reason``: the run's end is recorded."""
        self.ended = reason

    def _write_what_waits(self) -> None:
        if self.ended is not None:
            raise self.ended
        try:
            self._settle()
            batch = [ticket for ticket in self._pending[:] if not (ticket.done or ticket.left)]
            if batch:
                made = [record for ticket in batch for record in ticket.records]
                self._flight = _Flight(self._next_entry(made), batch)
                self._settle()
        except (Fenced, ClaryError) as error:
            self.ended = error
            raise

    def _settle(self) -> None:
        """See the write under way, if there is one, to its end; absorb what foreigners stored in its way."""
        while (flight := self._flight) is not None:
            foreign = self._land(flight)
            if foreign is not None:
                self._check_not_fenced(foreign)
                self._flight = _Flight(self._next_entry(flight.entry["records"]), flight.batch)
        while self._pending and (self._pending[0].done or self._pending[0].left):
            del self._pending[0]

    def _land(self, flight: _Flight) -> Entry | None:
        """Store the entry under way at its number; the foreign entry that holds the number is taken in and returned."""
        foreign = store(self.log, flight.entry)
        self._take(foreign or flight.entry)
        if foreign is None:
            self.is_open = True
            for ticket in flight.batch:
                for record in ticket.records:
                    self.listener(record)
                ticket.done = True
            self._flight = None
        return foreign

    def _next_entry(self, made: list[Record]) -> Entry:
        return new_entry(self.state.seq + 1, made, attempt=self.attempt)

    def _take(self, entry: Entry) -> None:
        # Twice the same, when a signal broke in, does no harm.
        if not self.log.immediate and (not self._entries or self._entries[-1]["seq"] < entry["seq"]):
            self._entries.append(entry)  # first, so that a snapshot of all up to ``state.seq`` misses none
        self.state.apply(entry)

    def _check_may_open(self) -> None:
        state = self.state
        if state.status == "absent":
            raise JournalError(
                "journal.no_such_run",
                "This run has no record.",
                next_step="Check the pointer of the job, and that the bucket is the one the run was submitted to.",
                retry=Retry.NO,
            )
        if self.attempt not in state.attempts:
            raise JournalError(
                "journal.no_such_attempt",
                f"The record of this run holds no claim of an attempt {self.attempt}.",
                next_step="Resume the run: clary runs resume RUN, which claims an attempt before it starts a job.",
                retry=Retry.NO,
            )
        latest = state.attempt
        if latest is not None and latest.number > self.attempt:
            raise Fenced(f"attempt {latest.number} has taken over from attempt {self.attempt}")
        if state.attempts[self.attempt].void:
            raise Fenced(f"attempt {state.attempts[self.attempt].reserved_by} goes on itself")
        if state.status == "completed":  # by an attempt that was thought dead when this one was claimed
            raise Fenced("the run is completed")
        reserved = state.attempts[self.attempt].not_before is not None
        if state.settled and latest is not None and (latest.outcome is not None or reserved):
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
        if not self._entries or self.state.seq // SNAPSHOT_EVERY == (self._entries[0]["seq"] - 1) // SNAPSHOT_EVERY:
            return
        with self._turn:
            entries = self._complete_snapshot()
        try:
            if entries:
                self.log.snapshot(entries)
        except ClaryError:
            pass  # a snapshot only makes reading quicker

    def _complete_snapshot(self) -> list[Entry]:
        """Take away, and return, the entries up to the last number at which a snapshot ends."""
        end = self.state.seq - self.state.seq % SNAPSHOT_EVERY
        entries = [entry for entry in self._entries if entry["seq"] <= end]
        self._entries = self._entries[len(entries) :]
        return entries


class _Ticket:
    """Records of one caller, waiting to be durable."""

    __slots__ = ("done", "left", "records")

    def __init__(self, waiting: list[Record]) -> None:
        self.records = waiting
        self.done = False
        self.left = False
        """The caller was broken into and has gone; what is not under way yet is not written any more."""


class _Flight(NamedTuple):
    """An entry on its way to its number, and whose records it carries."""

    entry: Entry
    batch: list[_Ticket]
