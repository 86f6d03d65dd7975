"""Which containers run, so that an orderly stop of the sandbox leaves none behind.

After kill -9 containers go on and are taken up by the next start. After ``clary sandbox stop`` they are ended: without
the sandbox they could reach neither S3 nor their credentials, and nobody would look after them. Their jobs then fail as
InternalServerError at the next start, or are tried again if they ask for that.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clary.sandbox.model import Container, ContainerSpec, Executor

_END_SECONDS = 5.0
_MARK = "ended-with-the-sandbox"
"""A file in a container's scratch folder: its exit code says nothing of the program in it."""


class Roster:
    """An executor that remembers what it started; ``close`` ends what still runs."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.name = executor.name
        self._lock = threading.Lock()
        self._containers: list[tuple[ContainerSpec, Container]] = []

    @property
    def not_honoured(self) -> Sequence[str]:
        """What this place cannot honour."""
        return self._executor.not_honoured

    def fetch(self, image: str) -> None:
        """Have an image ready to start."""
        self._executor.fetch(image)

    def start(self, spec: ContainerSpec, output: Callable[[bytes], None]) -> Container:
        """Start a container."""
        return self._noted(spec, self._executor.start(spec, output))

    def adopt(self, spec: ContainerSpec, pid: int, output: Callable[[bytes], None]) -> Container | None:
        """Take up a container that outlived the sandbox's process; one that was ended with it is lost."""
        mark = spec.scratch / _MARK
        if mark.exists():
            mark.unlink()
            return None
        container = self._executor.adopt(spec, pid, output)
        return None if container is None else self._noted(spec, container)

    def _noted(self, spec: ContainerSpec, container: Container) -> Container:
        with self._lock:
            self._containers = [*self._running(), (spec, container)]
        return container

    def _running(self) -> list[tuple[ContainerSpec, Container]]:
        return [(spec, container) for spec, container in self._containers if container.wait(0) is None]

    def close(self) -> None:
        """End every container that still runs, then let go of the executor."""
        with self._lock:
            running = self._running()
        for spec, container in running:
            (spec.scratch / _MARK).touch()
            container.kill()
        for _, container in running:
            container.wait(_END_SECONDS)
        self._executor.close()
