"""Watching runs: the record, the job's phases and the job's output, from one thread, within the published rates."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clary.agent import children, lifecycle, output, progress
from clary.agent.present import call_view, note_of, phase_views, run_view
from clary.errors import ClaryError, Retry, ThrottledError
from clary.journal import records
from clary.journal.state import WAITING, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.agent.lifecycle import Seen
    from clary.agent.place import Place
    from clary.agent.views import Observer, RunView
    from clary.journal.log import Log
    from clary.journal.records import Entry, Record

RECORD_SECONDS = 0.5
"""Between looks for the next entry of the record (one small GET): an end is seen that soon."""
DESCRIBE_SECONDS, DESCRIBE_LONGEST = 2.0, 10.0
"""Between looks at the job, growing: a death that left no record is seen that late, at most."""
LOG_SECONDS = 1.0
PROGRESS_SECONDS = 2.0
"""Between looks at how far the calls of a run are (one small GET)."""
UPLOAD_GRACE = 10.0
"""Seconds for which a job may go on (it uploads its output) after its run is over, before the watch ends."""
OUTAGE_PATIENCE = 120.0
"""Seconds for which a watch goes on though nothing can be seen (a laptop asleep, a network away)."""
_NAP = 0.1
_OUTPUT_PHASES = frozenset({"Training", "Uploading", "Interrupted", "Restarting", "Stopping"})
"""Phases in which a container may have written something."""


def follow(place: Place, run: str, observer: Observer | None) -> RunView:
    """Tell an observer of all that happens to a run until nothing runs for it any more; return it as it ended."""
    with place.log(run) as log:
        watch = _Watch(place, run, log, observer)
        calls = children.Output(place, frozenset(job.job for job in children.jobs_of(watch.state) if job.ended))
        while not watch.over:
            _tell(watch, _local_lines(watch, follow=True) if place.local else _job_to_its_end(watch, calls))
        _tell(watch, _rest(watch, calls))
        return watch.view()


def wait(place: Place, run: str, timeout: float | None) -> RunView | None:
    """Wait until nothing runs for a run any more; None when ``timeout`` seconds were not enough."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with place.log(run) as log:
        watch = _Watch(place, run, log, None)
        while not watch.over:
            if deadline is not None and time.monotonic() >= deadline:
                return watch.view() if watch.state.settled else None
            watch.pause(1.0 if deadline is None else min(1.0, deadline - time.monotonic()))
        return watch.view()


def lines(place: Place, run: str, *, follow: bool) -> Iterator[tuple[str, float, str]]:
    """Yield the output of a run, all attempts in order, as (host, epoch seconds, line); with ``follow`` to its end."""
    with place.log(run) as log:
        watch = _Watch(place, run, log, None)
        yield from _local_lines(watch, follow) if place.local else _job_lines(watch, follow)


class _Watch:
    """What is known of one run, kept up to date at the right pace."""

    def __init__(self, place: Place, run: str, log: Log, observer: Observer | None) -> None:
        self.place = place
        self.run = run
        self.log = log
        self.state = fold(log.read())
        if self.state.status == "absent":
            raise place.no_run(run)
        self.observer = observer
        self._told = self.state.seq
        self._seen: Seen | None = None
        self._phases: set[tuple[int, str, float | None]] = set()
        self._messages: set[str] = set()
        self._next_record = 0.0
        self._next_look = 0.0
        self._next_progress = 0.0
        self._look_pause = DESCRIBE_SECONDS
        self._ended_at: float | None = None
        self._trouble_since: float | None = None
        for record in self.state.calls.values():
            self._tell_call(record)
        self.look()

    @property
    def attempt(self) -> int:
        """The number of the latest attempt."""
        return max(self.state.attempts, default=0)

    @property
    def job_over(self) -> bool:
        """Whether there is no job that could still write something."""
        attempt = self.state.attempt
        return attempt is None or attempt.job is None or attempt.job_view is not None

    @property
    def over(self) -> bool:
        """Whether the watch is over: the run is, and its job is too, or has had its time to upload."""
        if self.state.status == WAITING and (self.place.local or self.state.open_waits()):
            return True  # only a person can wake it
        if not self.state.settled:
            self._ended_at = None
            return False
        self._ended_at = self._ended_at or time.monotonic()
        return self.job_over or time.monotonic() - self._ended_at > UPLOAD_GRACE

    @property
    def may_have_output(self) -> bool:
        """Whether the job's container may have written something already."""
        attempt = self.state.attempt
        if attempt is None or attempt.opened_at is not None or self.state.settled:
            return True
        job = self._seen.job if self._seen is not None else None
        return job is not None and (job.over or any(phase.name in _OUTPUT_PHASES for phase in job.phases))

    def view(self) -> RunView:
        """Return the run as it is known now."""
        return self._seen.view if self._seen is not None else run_view(self.state, self.place.store)

    def pause(self, seconds: float) -> None:
        """Let time pass, looking at record and job when they are due; return early when the run has just ended."""
        until = time.monotonic() + seconds
        settled = self.state.settled
        while True:
            now = time.monotonic()
            if now >= self._next_record:
                self.read()
            if now >= self._next_look:
                self.look()
            if now >= self._next_progress:
                self._tell_progress()
            if now >= until or self.state.settled != settled:
                return
            time.sleep(max(0.0, min(_NAP, until - now)))

    def read(self) -> None:
        """Take in what has been recorded since."""
        with self.patience():
            while (entry := self.log.get(self._told + 1)) is not None:
                if entry["seq"] > self.state.seq:  # else a step has read it on its way
                    self.state.apply(entry)
                    self._seen = None
                self._told = entry["seq"]
                self._tell(entry)
        self._next_record = time.monotonic() + RECORD_SECONDS
        if self.state.settled and not self.job_over:
            # the job is about to end as well
            self._look_pause = DESCRIBE_SECONDS / 2
            self._next_look = min(self._next_look, time.monotonic() + self._look_pause)

    def look(self) -> None:
        """Advance the run, which looks at its job."""
        with self.patience():
            if self.place.local:
                self._seen = lifecycle.advance(self.place, self.run)
            else:
                self._seen = lifecycle.step(self.place, self.log, self.state, self.observer)
        self.read()
        self._tell_phases()
        self._look_pause = min(self._look_pause * 1.25, DESCRIBE_LONGEST)
        self._next_look = time.monotonic() + (RECORD_SECONDS if self.place.local else self._look_pause)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Bear with outages of the network and of AWS for a while: what could not be seen now is seen next time."""
        try:
            yield
        except ClaryError as error:
            now = time.monotonic()
            since = self._trouble_since = self._trouble_since or now
            if error.retry is Retry.NO or now - since > OUTAGE_PATIENCE:
                raise
            if since == now and self.observer is not None and not isinstance(error, ThrottledError):
                self.observer.note(f"{error.summary} Trying again.")
        else:
            self._trouble_since = None

    def _tell(self, entry: Entry) -> None:
        for record in entry["records"]:
            if record["kind"] in (records.CALL, records.CALL_FAILED):
                self._tell_call({**record, "attempt": entry["attempt"]})
            elif self.observer is not None and (text := note_of(record, entry["at"])):
                self.observer.note(text)

    def _tell_call(self, record: Record) -> None:
        if self.observer is not None:
            self.observer.call(call_view(record, self.place.store, self.state))

    def _tell_progress(self) -> None:
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        if self.observer is None or self.state.status != "running":
            return
        with self.patience():
            if lines := progress.read(self.place, self.run, self.attempt):
                self.observer.progress(lines)

    def _tell_phases(self) -> None:
        job = self._seen.job if self._seen is not None else None
        if self.observer is None or job is None:
            return
        for phase in phase_views(lifecycle.job_record(job)):
            key = (self.attempt, phase.name, phase.started)
            if key not in self._phases:
                self._phases.add(key)
                self._look_pause = DESCRIBE_SECONDS
                self.observer.phase(self.attempt, phase)
            elif "capacity" in phase.message and phase.message not in self._messages:
                self.observer.note(phase.message)
            self._messages.add(phase.message)


def _tell(watch: _Watch, lines: Iterator[tuple[str, float, str]]) -> None:
    for host, moment, text in lines:
        if watch.observer is not None:
            watch.observer.log(host, moment, text)


def _job_to_its_end(watch: _Watch, calls: children.Output) -> Iterator[tuple[str, float, str]]:
    """Yield the output of the latest attempt until the watch is over or another attempt begins."""
    number = watch.attempt
    while not watch.may_have_output and not watch.over and watch.attempt == number:
        watch.pause(LOG_SECONDS)
    yield from _tail(watch, number, calls, follow=True)


def _job_lines(watch: _Watch, follow: bool) -> Iterator[tuple[str, float, str]]:
    number, calls = 0, children.Output(watch.place)
    while number < watch.attempt:
        number = min(one for one in watch.state.attempts if one > number)
        yield from _tail(watch, number, calls, follow=follow)
    yield from _rest(watch, calls)


def _rest(watch: _Watch, calls: children.Output) -> Iterator[tuple[str, float, str]]:
    with watch.patience():
        yield from calls.rest(watch.state)


def _tail(watch: _Watch, number: int, calls: children.Output, *, follow: bool) -> Iterator[tuple[str, float, str]]:
    """Yield the lines of an attempt's job, and with ``follow`` those of its calls' jobs as they come."""
    from clary.sagemaker import logs

    job = watch.state.attempts[number].job
    if job is None:
        return
    tail, last, done = logs.Tail(watch.place.aws, job), False, False
    while not (last and done):
        last, done = not follow or watch.over or watch.attempt != number, False
        with watch.patience():
            yield from ((line.host, line.timestamp_ms / 1000, line.text) for line in tail.new_lines())
            if follow:
                yield from calls.new_lines(watch.state)
            done = True
        if not (last and done):
            watch.pause(LOG_SECONDS)


def _local_lines(watch: _Watch, follow: bool) -> Iterator[tuple[str, float, str]]:
    file = output.output_file(watch.place.root, watch.run)
    offset = 0
    while True:
        last = not follow or watch.over
        found, offset = output.read_lines(file, offset)
        yield from (("local", moment, text) for moment, text in found)
        if last:
            return
        watch.pause(RECORD_SECONDS)
