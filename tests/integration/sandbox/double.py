"""A sandbox whose jobs do nothing: they go to Training and stay there until they are stopped or told to end.

For tests of the front alone; the life of real jobs is tested elsewhere. Environment variable ``end=Completed`` of a
job lets it end at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from clary.sandbox.model import Job, JobKind
from clary.sandbox.process import Runner, Settings, main

if TYPE_CHECKING:
    from clary.sandbox.services import SandboxServices
    from clary.sandbox.store import SqliteJobStore


class IdleLife:
    def __init__(self, services: SandboxServices, store: SqliteJobStore) -> None:
        self.services = services
        self.store = store

    def begin(self, job: Job) -> None:
        now = self.services.clock.now()
        started = "TrainingStartTime" if job.kind is JobKind.TRAINING else "ProcessingStartTime"
        job = self.store.transition(self.store.update(job, {started: now}), "Training", "Training in-progress")
        output = job.request.get("Environment", {}).get("log")
        if output:
            sink = self.services.log_sink(job, f"{job.name}/algo-1-1")
            sink.write(output.encode())
            sink.close()
        end = job.request.get("Environment", {}).get("end")
        if end:
            self.store.transition(job, end, "done", status=end)

    def stop(self, job: Job) -> None:
        self.store.transition(job, "Stopped", "Training job stopped", status="Stopped")

    def adopt(self, job: Job) -> None:
        self.store.transition(job, "Failed", "lost", status="Failed", FailureReason="InternalServerError: lost")

    def interrupt(self, job: Job) -> None:
        self.store.transition(job, "Interrupted", "interrupted")

    def close(self) -> None: ...


def idle(settings: Settings, services: SandboxServices, store: SqliteJobStore) -> Runner:
    return Runner(IdleLife(services, store), "none", ["Jobs do not run."])


if __name__ == "__main__":
    sys.exit(main(make_runner=idle))
