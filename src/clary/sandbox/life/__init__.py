"""The life of jobs: what moves each of them through its phases, one thread a job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.sandbox.life.run import JobRun
    from clary.sandbox.model import Executor, Job, JobStore, Services


class Life:
    """Begins, stops and takes up jobs. Every call but ``close`` returns at once and is safe from any thread."""

    def __init__(self, services: Services, store: JobStore, executor: Executor) -> None:
        self._services = services
        self._store = store
        self._executor = executor
        self._runs: dict[str, tuple[JobRun, threading.Thread]] = {}
        self._lock = threading.Lock()

    def begin(self, job: Job) -> None:
        """Start a new job."""
        self._enter(job, new=True)

    def adopt(self, job: Job) -> None:
        """Take up an unfinished job after a restart: live containers go on, what was lost fails or is tried again."""
        self._enter(job, new=False)

    def stop(self, job: Job) -> None:
        """Stop a job whose status is Stopping already."""
        with self._lock:
            known = self._runs.get(job.arn)
        if known is not None:
            known[0].stop()

    def interrupt(self, job: Job) -> None:
        """Take a spot job's machines away."""
        with self._lock:
            known = self._runs.get(job.arn)
        if known is not None:
            known[0].interrupt()

    def close(self) -> None:
        """Let go of every job and of the executor, and wait for the threads; containers go on and can be adopted."""
        with self._lock:
            running = list(self._runs.values())
        for run, _ in running:
            run.close()
        for _, thread in running:
            thread.join()
        self._executor.close()

    def _enter(self, job: Job, *, new: bool) -> None:
        from clary.sandbox.life.run import JobRun

        run = JobRun(self._services, self._store, self._executor, job)
        with self._lock:
            before = self._runs.get(job.arn)
            thread = threading.Thread(
                target=self._live, args=(job.arn, run, before and before[1], new), name=f"life-{job.name}", daemon=True
            )
            self._runs[job.arn] = (run, thread)
        thread.start()

    def _live(self, arn: str, run: JobRun, before: threading.Thread | None, new: bool) -> None:
        """Be the thread of a job. ``before`` is that of a deleted job of the same name, which still tidies up."""
        try:
            if before is not None:
                before.join()
            run.run(new=new)
        finally:
            with self._lock:
                if self._runs[arn][0] is run:
                    del self._runs[arn]
