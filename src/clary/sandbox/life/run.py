"""One job from its creation to its end: the state machine of the service, in one thread."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

from clary.sandbox.life.failures import JobFailed, JobStopped, LetGo
from clary.sandbox.life.folder import Ending, JobFolder, Phase, Progress, changed
from clary.sandbox.life.hosts import Hosts
from clary.sandbox.life.inputs import Downloads
from clary.sandbox.life.messages import MESSAGES, cannot_pull
from clary.sandbox.life.outputs import Sync, finish_all
from clary.sandbox.life.processing import ProcessingContract
from clary.sandbox.life.training import TrainingContract
from clary.sandbox.machines import preferences, selected
from clary.sandbox.model import Executor, ImageNotFound, Job, JobKind, JobStore, Services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.life.contract import Contract
    from clary.sandbox.life.pipes import Feeder
    from clary.sandbox.machines import Machines

_log = logging.getLogger(__name__)
GRACE_SECONDS = 120.0
"""Sandbox seconds between SIGTERM and SIGKILL (AWS developer guide, "Stop a training job")."""
_LOOK_SECONDS = 0.1
"""Real seconds between looks at the clock; the end of a container wakes the thread at once."""
_NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
_INTERNAL = "InternalServerError: We encountered an internal error. Please try again."


class JobRun:
    """Moves one job. ``run`` is the body of its thread; the other methods may be called from any thread."""

    def __init__(self, services: Services, store: JobStore, executor: Executor, job: Job) -> None:
        self._services = services
        self._clock = services.clock
        self._store = store
        self._executor = executor
        self._job = job
        self._folder = JobFolder(services.data, job)
        self._messages = MESSAGES[job.kind]
        kind = TrainingContract if job.kind is JobKind.TRAINING else ProcessingContract
        self._contract: Contract = kind(job, services, self._folder)
        self._progress = Progress()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._interrupt = threading.Event()
        self._closing = threading.Event()
        self._hosts = Hosts(services, executor, job, self._wake)
        self._syncs: list[Sync] = []
        self._feeders: list[Feeder] = []

    # -- from outside

    def stop(self) -> None:
        """Stop the job; its status is Stopping already."""
        self._stop.set()
        self._wake.set()

    def interrupt(self) -> None:
        """Take a spot job's machines away."""
        self._interrupt.set()
        self._wake.set()

    def close(self) -> None:
        """Leave the job as it is; its containers go on."""
        self._closing.set()
        self._wake.set()

    # -- the thread

    def run(self, *, new: bool) -> None:
        """Move the job until its end, or until ``close``; a job that is not new goes on where it was."""
        try:
            if new:
                self._folder.remove()  # left by a job of this name that was deleted while the sandbox was away
            self._progress = self._folder.read() or Progress()
            while not self._attempt():
                pass
        except LetGo:
            return
        except Exception:  # noqa: BLE001 - whatever it is, the job must not stay InProgress for ever
            _log.exception("the life of %s broke off", self._job.arn)
            self._hosts.kill_and_wait()
            self._end("Failed", "Failed", FailureReason=_INTERNAL)
        finally:
            for feeder in self._feeders:
                feeder.close()
            for sync in self._syncs:
                sync.abandon()

    def _attempt(self) -> bool:
        """Make one attempt, or go on with the one a restart cut short; returns whether the job has ended."""
        try:
            if self._progress.phase is Phase.PREPARING:
                self._find_machines()
                self._prepare()
                self._start()
            elif self._progress.phase is Phase.RUNNING:
                self._take_up()
            if self._progress.phase is Phase.RUNNING:
                self._watch()
            return self._conclude()
        except _GivenUp:
            self._end("Stopped", "MaxWaitTimeExceeded")
        except JobStopped:
            self._end("Stopped", "Stopped")
        except JobFailed as failure:
            self._hosts.kill_and_wait()
            self._end("Failed", "Failed", FailureReason=str(failure))
        except _InternalError as error:
            _log.warning("an internal error in %s: %s", self._job.arn, error)
            return not self._try_again()
        return True

    def _check(self) -> None:
        """Give up between two steps when asked to; raises LetGo or JobStopped."""
        if self._closing.is_set():
            raise LetGo
        if self._stopping:
            raise JobStopped

    @property
    def _stopping(self) -> bool:
        return self._stop.is_set() or self._job.status == "Stopping"

    def _say(self, secondary: str, message: str = "", *, status: str | None = None, **changes: Any) -> None:
        text = message or self._messages.get(secondary, secondary)
        self._job = self._contract.job = self._store.transition(self._job, secondary, text, status=status, **changes)

    def _keep(self, **changes: Any) -> None:
        self._progress = changed(self._progress, **changes)
        self._folder.write(self._progress)

    # -- before the containers

    def _find_machines(self) -> None:
        self._check()
        self._keep()
        short = self._services.fault("insufficient_capacity", self._job)
        if short is not None:
            self._say("Starting", self._messages["Waiting"])
            self._wait_for_machines(float(short.get("seconds", 0)))
        taken = self._take_machines()
        if taken is None:
            if self._contract.max_wait is None:
                raise JobFailed(_NO_CAPACITY)
            self._say("Starting", self._messages["Waiting"])
            self._wait_for_machines(None)
        told = selected(self._job, taken) if taken is not None and self._preferences else {}
        self._say("Starting", self._messages["Preparing"], **told)

    @property
    def _preferences(self) -> Sequence[Machines]:
        return preferences(self._job.kind, self._job.request)

    def _take_machines(self) -> Machines | None:
        """Return the first of the machines asked for that there are, or None when there is none of them."""
        for wanted in self._preferences or self._contract.machines[:1]:
            if self._services.fault("capacity", self._job, wanted.instance_type) is None:
                return wanted
            self._say("Starting", self._messages["Waiting"])
        return None

    def _wait_for_machines(self, seconds: float | None) -> None:
        """Wait for machines; a spot job that waited too long ends as Stopped/MaxWaitTimeExceeded."""
        until = None if seconds is None else self._clock.now() + seconds
        while until is None or self._clock.now() < until:
            self._check()
            if self._waited_too_long():
                self._say("Stopping", status="Stopping")
                raise _GivenUp
            self._wake.wait(_LOOK_SECONDS)

    def _waited_too_long(self) -> bool:
        limit = self._contract.max_wait
        return limit is not None and self._clock.now() - float(self._job.describe["CreationTime"]) > limit

    def _prepare(self) -> None:
        self._folder.clear_hosts()
        now = self._clock.now()
        if self._progress.paused_at is not None:
            self._keep(paused=self._progress.paused + now - self._progress.paused_at, paused_at=None)
        self._say("Downloading", **self._contract.begun(now))
        downloads = Downloads(self._job, self._contract.objects, self._check)
        self._contract.bring(downloads)
        self._say("Downloading", self._messages["Image"])
        refused = self._services.cannot_pull(self._job)
        if refused is not None:
            raise JobFailed(cannot_pull(self._job.kind, refused))
        try:
            self._executor.fetch(self._contract.spec(self._contract.hosts[0]).image)
        except ImageNotFound as error:
            raise JobFailed(cannot_pull(self._job.kind, str(error))) from error
        if self._services.fault("internal_error", self._job) is not None:
            raise _InternalError("planned")

    def _start(self) -> None:
        """Start every host. A kill before the end of this leaves containers that end when their folders go."""
        self._check()
        self._hosts = Hosts(self._services, self._executor, self._job, self._wake)
        self._syncs = self._contract.syncs(stored=True)
        self._feeders = self._contract.feeders()
        streams = {host: f"{self._job.name}/{host}-{int(self._clock.now())}" for host in self._contract.hosts}
        self._say("Training")
        for host in self._contract.hosts:
            try:
                self._hosts.start(self._contract.spec(host), streams[host])
            except ImageNotFound as error:
                raise JobFailed(cannot_pull(self._job.kind, str(error))) from error
            except Exception as error:
                self._hosts.kill_and_wait()
                raise _InternalError(str(error)) from error
        now = self._clock.now()
        spot = self._services.fault("spot_interruption", self._job) if self._contract.spot else None
        self._keep(
            phase=Phase.RUNNING,
            pids=self._hosts.pids,
            streams=streams,
            exit_codes={},
            ending=Ending.EXIT,
            started=now,
            kill_at=None,
            interrupt_at=None if spot is None else now + float(spot.get("seconds", 0)),
        )

    def _take_up(self) -> None:
        """Adopt the containers of an earlier process; raises _InternalError when they cannot go on."""
        found = [
            self._hosts.adopt(self._contract.spec(host), self._progress.streams[host], pid)
            for host, pid in self._progress.pids.items()
        ]
        if not all(found) or not self._contract.can_be_adopted or len(found) != len(self._contract.hosts):
            self._hosts.kill_and_wait()
            raise _InternalError("the job's containers were lost when the sandbox ended")
        self._syncs = self._contract.syncs(stored=False)

    # -- while they run

    def _watch(self) -> None:
        """Wait until every container has ended, ending them when there is a reason to."""
        while len(self._hosts.exit_codes) < len(self._contract.hosts):
            if self._closing.is_set():
                raise LetGo
            if any(self._hosts.exit_codes.values()) and self._progress.kill_at is None:
                # One host's failure is the job's: the others are not waited for.
                self._hosts.kill()
            self._end_if_due()
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
        ending = self._progress.ending
        if ending is Ending.EXIT and self._stopping:
            # It ended by itself just before SIGTERM; a job that was asked to stop ends as Stopped all the same.
            ending = Ending.STOP
        self._keep(phase=Phase.ENDED, exit_codes=dict(self._hosts.exit_codes), ending=ending)

    def _end_if_due(self) -> None:
        now = self._clock.now()
        if self._progress.kill_at is not None:
            if now >= self._progress.kill_at:
                self._hosts.kill()
            return
        reason = self._reason_to_end(now)
        if reason is Ending.EXIT:
            return
        if reason in (Ending.MAX_RUNTIME, Ending.MAX_WAIT):
            self._say("Stopping", status="Stopping")
        self._keep(ending=reason, kill_at=now + GRACE_SECONDS)
        self._hosts.signal(signal.SIGTERM)

    def _reason_to_end(self, now: float) -> Ending:
        if self._stopping:
            return Ending.STOP
        if self._progress.ran_before + now - self._progress.started >= self._contract.max_runtime:
            return Ending.MAX_RUNTIME
        if self._waited_too_long():
            return Ending.MAX_WAIT
        due = self._progress.interrupt_at
        if self._contract.spot and (self._interrupt.is_set() or (due is not None and now >= due)):
            return Ending.INTERRUPTED
        return Ending.EXIT

    # -- after the containers

    def _conclude(self) -> bool:
        """Upload what there is and end the job, or begin again after an interruption."""
        for feeder in self._feeders:
            feeder.close()
        self._feeders = []
        if self._progress.ending is Ending.INTERRUPTED:
            return self._begin_again()
        reason = self._contract.failure(self._progress.exit_codes) if self._progress.ending is Ending.EXIT else None
        self._say("Uploading")
        taken: Mapping[str, Any] = {}
        try:
            self._finish_syncs()
            taken = self._contract.take()
        except JobFailed as failure:
            reason = reason or str(failure)
        if reason is not None:
            kept = {name: value for name, value in taken.items() if name == "ExitMessage"}
            self._end("Failed", "Failed", FailureReason=reason, **kept)
        elif self._progress.ending is Ending.EXIT:
            self._end("Completed", "Completed", **taken)
        else:
            secondary = {Ending.MAX_RUNTIME: "MaxRuntimeExceeded", Ending.MAX_WAIT: "MaxWaitTimeExceeded"}
            self._end("Stopped", secondary.get(self._progress.ending, "Stopped"), **taken)
        return True

    def _finish_syncs(self) -> None:
        syncs, self._syncs = self._syncs or self._contract.syncs(stored=False), []
        finish_all(syncs)

    def _begin_again(self) -> bool:
        self._finish_syncs()
        now = self._clock.now()
        self._say("Interrupted")
        self._interrupt.clear()
        self._keep(
            phase=Phase.PREPARING,
            pids={},
            ran_before=self._progress.ran_before + now - self._progress.started,
            paused_at=now,
        )
        self._say("Starting")
        return False

    def _try_again(self) -> bool:
        """Go back to Starting after an internal error if the request allows it; returns whether it does."""
        self._hosts.kill_and_wait()
        for sync in self._syncs:
            sync.abandon()
        for feeder in self._feeders:
            feeder.close()
        self._syncs, self._feeders = [], []
        if self._stopping:
            self._end("Stopped", "Stopped")
            return False
        if self._progress.internal_errors >= self._contract.retries:
            self._end("Failed", "Failed", FailureReason=_INTERNAL)
            return False
        ran = self._clock.now() - self._progress.started if self._progress.phase is Phase.RUNNING else 0.0
        self._keep(
            phase=Phase.PREPARING,
            pids={},
            internal_errors=self._progress.internal_errors + 1,
            ran_before=self._progress.ran_before + ran,
        )
        self._say("Starting")
        return True

    def _end(self, status: str, secondary: str, **changes: Any) -> None:
        """Enter the terminal status; the folder goes after it, so that a kill in between leaves nothing undone."""
        now = self._clock.now()
        self._say(secondary, status=status, **self._contract.over(now, self._progress), **changes)
        self._folder.remove()


class _InternalError(Exception):
    """The platform failed, not the job."""


class _GivenUp(JobStopped):
    """A spot job waited too long for machines."""
