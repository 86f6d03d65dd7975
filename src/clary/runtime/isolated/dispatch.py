"""One thread for all isolated calls of an attempt: queues them, asks for their jobs, and looks for their results.

A call goes ``waiting`` (for its checkpoint's limit) → ``claimed`` (its job is on record) → ``running`` → ended. The
thread lives while there is something to do. It never waits for one call: what cannot be done now is done later.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clary.errors import ClaryError, Fenced, Interruption, QuotaError, Retry, ThrottledError
from clary.journal import records
from clary.runtime.isolated import tasks
from clary.runtime.isolated.endings import of_dead_job, of_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.engine.execution import Call
    from clary.journal.records import Record
    from clary.runtime.isolated.calls import IsolatedCalls
    from clary.runtime.isolated.jobs import Job

POLL_FIRST, POLL_LONGEST = 0.5, 5.0
"""Seconds between looks for a call's result (one small GET), growing."""
LOOK_FIRST, LOOK_LONGEST = 3.0, 30.0
"""Seconds between looks at a call's job, growing: a death that left no result is seen that late, at most."""
LOOKS_APART = 0.5
"""Seconds between two looks at jobs, whichever: Describe has a rate for the whole account."""
PATIENCE = 300.0
"""Seconds for which an outage of S3 or SageMaker is borne."""
_CREATE_PAUSE, _CREATE_LONGEST = 1.0, 20.0
_QUOTA_PAUSE = 15.0
_NAP = 0.5

LOST = "lost"
"""The end of a job that left no result while nobody watched: the call has a further one, and this one is no failure."""
WAITING, CLAIMED, RUNNING = "waiting", "claimed", "running"


@dataclass(eq=False)
class Ticket:
    """One call on its way."""

    call: Call
    limit: int
    at: float
    needed: Callable[[], bool] | None
    status: str = WAITING
    used: bool = True
    """False for a call whose result was there already."""
    number: int = 0
    job: str = ""
    place: tasks.Place = field(default_factory=lambda: tasks.Place("", ""))
    attempt: int = 0
    """The attempt that first meant to ask for the job."""
    adopted: bool = False
    """Whether the job is one that an earlier attempt or process has begun."""
    result: Record | None = None
    end: Record | None = None
    """The record of the job's end."""
    error: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    claimed_at: float = 0.0
    poll_at: float = 0.0
    poll_pause: float = 0.0
    look_at: float = 0.0
    look_pause: float = 0.0
    hearers: list[Callable[[], object]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, ready: Callable[[], object]) -> None:
        """Call ``ready`` when the call has ended; at once if it has."""
        with self.lock:
            if not self.ended.is_set():
                self.hearers.append(ready)
                return
        ready()

    def finish(self, *, error: BaseException | None = None) -> None:
        """Let whoever waits go on."""
        with self.lock:
            self.error = self.error or error
            self.ended.set()
            hearers, self.hearers = self.hearers, []
        for ready in hearers:
            ready()


class Dispatcher:
    """The thread, and what it has to do."""

    def __init__(self, calls: IsolatedCalls) -> None:
        self._calls = calls
        self._news = threading.Condition()
        self._tickets: list[Ticket] = []
        self._thread: threading.Thread | None = None
        self._create_at = 0.0
        self._create_pause = _CREATE_PAUSE
        self._full_until: dict[str, float] = {}
        """Checkpoints whose jobs found the account's quota used up, until when they are left alone."""
        self._next_look = 0.0
        self._trouble_since: float | None = None

    def add(self, call: Call, limit: int, at: float, needed: Callable[[], bool] | None) -> Ticket:
        """Queue a call that may run from ``at`` on (epoch seconds)."""
        ticket = Ticket(call, limit, at, needed)
        with self._news:
            self._tickets.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="clary-isolated", daemon=True)
                self._thread.start()
            self._news.notify()
        return ticket

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, as it does soon after the attempt has; ``seconds`` at most."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    # -- the thread

    def _serve(self) -> None:
        try:
            while self._goes_on():
                moment = self._step()
                with self._news:
                    self._news.wait(min(max(moment - time.time(), 0.01), _NAP))
        except BaseException as error:  # noqa: BLE001 - it is raised in the calls that wait
            self._give_up(error)

    def _goes_on(self) -> bool:
        """Tell whether there is still something to do; else the thread is over."""
        ended = self._calls.execution.ended
        if ended is not None:
            self._give_up(ended if isinstance(ended, Interruption) else Fenced("the flow has ended"))
        with self._news:
            self._tickets = [ticket for ticket in self._tickets if not ticket.ended.is_set()]
            if not self._tickets:
                self._thread = None
            return bool(self._tickets)

    def _give_up(self, error: BaseException) -> None:
        with self._news:
            left, self._tickets, self._thread = self._tickets, [], None
        for ticket in left:
            ticket.finish(error=error)

    def _step(self) -> float:
        """Do all that is due now; return when something is due next."""
        with self._news:
            tickets = list(self._tickets)
        self._admit(tickets)
        for ticket in tickets:
            if self._calls.execution.ended is not None:
                break
            if ticket.status == CLAIMED and not ticket.ended.is_set():
                self._ask_for_job(ticket)
            if ticket.status == RUNNING and not ticket.ended.is_set():
                self._watch(ticket)
        running = [ticket.poll_at for ticket in tickets if ticket.status == RUNNING and not ticket.ended.is_set()]
        return min(running, default=time.time() + _NAP)

    # -- from waiting to claimed

    def _admit(self, tickets: list[Ticket]) -> None:
        """Claim jobs for the calls that may run now, in order and within their limits: one write for all of them."""
        now = time.time()
        busy = Counter(one.call.callee.name for one in tickets if one.status != WAITING and not one.ended.is_set())
        claimed: list[Ticket] = []
        claims: list[Record] = []
        for ticket in tickets:
            name = ticket.call.callee.name
            if ticket.status != WAITING or ticket.ended.is_set() or ticket.at > now or busy[name] >= ticket.limit:
                continue
            if ticket.needed is not None and not ticket.needed():
                ticket.used = False
                ticket.finish()
                continue
            try:
                claim = self._claim(ticket)
            except ClaryError as error:
                ticket.finish(error=error)
                continue
            claims += [] if claim is None else [claim]
            claimed.append(ticket)
            busy[name] += 1
        if claims:
            self._calls.execution.write(*claims)
        for ticket in claimed:
            ticket.status, ticket.claimed_at = CLAIMED, time.time()

    def _claim(self, ticket: Ticket) -> Record | None:
        """Give the call a job: the one it has on record already, or a new one, whose record is returned."""
        call, journal = ticket.call, self._calls.execution.journal
        self._calls.template(call)
        known = journal.state.call_jobs.get(call.path, [])
        ticket.number = len(known) + 1
        if known and not known[-1]["taken"] and (known[-1]["end"] or {}).get("outcome") != LOST:
            last = known[-1]
            if (last["inputs"], last["source"]) == (call.inputs, call.callee.source):
                ticket.number, ticket.job, ticket.attempt, ticket.adopted = (
                    last["n"],
                    last["job"],
                    last["attempt"],
                    True,
                )
                ticket.place = tasks.Place.of(journal.state.run, call.path, ticket.number)
                return None
            self._calls.jobs().stop(last["job"])  # it computes what nobody wants any more
        ticket.attempt, ticket.adopted = journal.attempt, False
        ticket.job = tasks.job_name(journal.state.flow, journal.state.run, journal.attempt, call.path, ticket.number)
        ticket.place = tasks.Place.of(journal.state.run, call.path, ticket.number)
        return records.call_job(call.path, ticket.number, ticket.job, inputs=call.inputs, source=call.callee.source)

    # -- from claimed to running

    def _ask_for_job(self, ticket: Ticket) -> None:
        name, now = ticket.call.callee.name, time.time()
        if now < max(self._create_at, self._full_until.get(name, 0.0)):
            return
        try:
            if ticket.adopted and self._is_there(ticket):
                return
            self._send(ticket)
        except ClaryError as error:
            self._create_again_later(ticket, error)
        else:
            self._create_pause = _CREATE_PAUSE
            self._watch_from_now(ticket)

    def _is_there(self, ticket: Ticket) -> bool:
        """Tell whether an adopted call has its result or its job already, and take it up."""
        store = self._calls.execution.store
        if (result := tasks.read(store, ticket.place.result)) is not None:
            self._end(ticket, result)
            return True
        if self._calls.jobs().describe(ticket.job) is None:
            return False
        self._watch_from_now(ticket)
        return True

    def _send(self, ticket: Ticket) -> None:
        calls, call = self._calls, ticket.call
        state = calls.execution.journal.state
        parent = state.attempts[calls.execution.journal.attempt].request or {}
        variables = tasks.pointer(parent, ticket.attempt, ticket.place)
        template = calls.template(call)
        inherited = {name: parent["Environment"][name] for name in template.get("inherited", ())}
        output = f"{calls.execution.store.root}/runs/{state.run}/output"
        request = tasks.request(template["request"], ticket.job, {**inherited, **variables}, output)
        tasks.write(calls.execution.store, ticket.place.task, calls.task(call))
        calls.jobs().create(request, variables)

    def _create_again_later(self, ticket: Ticket, error: ClaryError) -> None:
        """Put the request off where it may be taken later; else the call fails."""
        now = time.time()
        if error.retry is Retry.NO:
            ticket.end = records.call_job_ended(ticket.call.path, ticket.number, "refused")
            ticket.finish(error=error)
        elif isinstance(error, QuotaError):
            self._full_until[ticket.call.callee.name] = now + random.uniform(0.5, 1) * _QUOTA_PAUSE
        elif isinstance(error, ThrottledError) or now - ticket.claimed_at < PATIENCE:
            self._create_at = now + random.uniform(0.5, 1) * self._create_pause
            self._create_pause = min(self._create_pause * 2, _CREATE_LONGEST)
        else:
            ticket.finish(error=error)

    def _watch_from_now(self, ticket: Ticket) -> None:
        now = time.time()
        ticket.status = RUNNING
        ticket.poll_pause, ticket.look_pause = POLL_FIRST, LOOK_FIRST
        ticket.poll_at, ticket.look_at = now + ticket.poll_pause, now + ticket.look_pause

    # -- while running

    def _watch(self, ticket: Ticket) -> None:
        now = time.time()
        try:
            if now >= ticket.poll_at:
                ticket.poll_pause = min(ticket.poll_pause * 1.3, POLL_LONGEST)
                ticket.poll_at = now + ticket.poll_pause
                self._look_for_result(ticket)
            if now >= max(ticket.look_at, self._next_look) and not ticket.ended.is_set():
                self._next_look = now + LOOKS_APART
                ticket.look_pause = min(ticket.look_pause * 1.5, LOOK_LONGEST)
                ticket.look_at = now + ticket.look_pause
                self._look_at_job(ticket)
        except ClaryError as error:
            self._bear(error)
        else:
            self._trouble_since = None

    def _bear(self, error: ClaryError) -> None:
        now = time.time()
        self._trouble_since = self._trouble_since or now
        if error.retry is Retry.NO or now - self._trouble_since > PATIENCE:
            raise error

    def _look_for_result(self, ticket: Ticket) -> None:
        result = tasks.read(self._calls.execution.store, ticket.place.result)
        if result is not None:
            self._end(ticket, result)

    def _look_at_job(self, ticket: Ticket) -> None:
        job = self._calls.jobs().describe(ticket.job)
        if job is not None and not job.over:
            return
        self._look_for_result(ticket)  # it may have come since the last look for it
        if ticket.ended.is_set():
            return
        execution = self._calls.execution
        if ticket.attempt < execution.journal.attempt and ticket.adopted:
            self._begin_anew(ticket)  # what was running when an attempt died runs again
            return
        if job is not None and job.status == "Stopped":
            execution.journal.absorb()
            if execution.journal.state.stop_requested:
                return  # with the run; its own end is on the way
        self._end_dead(ticket, job)

    def _begin_anew(self, ticket: Ticket) -> None:
        """Give a call whose job has ended without a result, while nobody watched, a further job."""
        self._calls.execution.write(records.call_job_ended(ticket.call.path, ticket.number, LOST))
        ticket.status, ticket.adopted = WAITING, False

    def _end(self, ticket: Ticket, result: Record) -> None:
        ticket.result = result
        ticket.end = of_result(ticket, result, self._calls.template(ticket.call)["request"])
        self._full_until.clear()  # a job that has ended makes room for others
        ticket.finish()

    def _end_dead(self, ticket: Ticket, job: Job | None) -> None:
        template = self._calls.template(ticket.call)["request"]
        ticket.result, error, ticket.end = of_dead_job(ticket, job, template, self._calls.execution.store)
        self._full_until.clear()
        ticket.finish(error=error)
