"""The containers of one attempt, one on each host, and their logs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from clary.sandbox.model import Container, ContainerSpec, EntrypointError, Executor, Job, LogSink, Services

if TYPE_CHECKING:
    from collections.abc import Mapping


class Hosts:
    """Starts or takes up the containers, and tells when one has ended."""

    def __init__(self, services: Services, executor: Executor, job: Job, wake: threading.Event) -> None:
        self._services = services
        self._executor = executor
        self._job = job
        self._wake = wake
        self._containers: dict[str, Container] = {}
        self._sinks: dict[str, LogSink] = {}
        self._codes: dict[str, int] = {}

    @property
    def exit_codes(self) -> Mapping[str, int]:
        """The exit codes of the hosts that have ended."""
        return dict(self._codes)

    @property
    def pids(self) -> dict[str, int]:
        """The containers' processes."""
        return {host: container.pid for host, container in self._containers.items()}

    def start(self, spec: ContainerSpec, stream: str) -> None:
        """Start one host; one whose command cannot be started has ended with 126 or 127 and says so in its log."""
        sink = self._sinks[spec.host] = self._services.log_sink(self._job, stream)
        try:
            self._follow(spec.host, self._executor.start(spec, _Output(sink)))
        except EntrypointError as error:
            sink.write(f"{error}\n".encode())
            sink.close()
            self._codes[spec.host] = error.exit_code
            self._wake.set()

    def adopt(self, spec: ContainerSpec, stream: str, pid: int) -> bool:
        """Take up one host after a restart; returns whether it was there."""
        sink = self._sinks[spec.host] = self._services.log_sink(self._job, stream)
        container = self._executor.adopt(spec, pid, _Output(sink))
        if container is None:
            return False
        self._follow(spec.host, container)
        return True

    def _follow(self, host: str, container: Container) -> None:
        self._containers[host] = container
        threading.Thread(target=self._await, args=(host, container), name=f"await-{host}", daemon=True).start()

    def _await(self, host: str, container: Container) -> None:
        code = container.wait()
        self._codes[host] = 1 if code is None else code
        self._wake.set()

    def signal(self, number: int) -> None:
        """Send a signal to every container that runs."""
        for container in self._running():
            container.signal(number)

    def kill(self) -> None:
        """End every container that runs."""
        for container in self._running():
            container.kill()

    def kill_and_wait(self) -> None:
        """End every container and wait until all of them are gone."""
        self.kill()
        for container in self._containers.values():
            container.wait()

    def _running(self) -> list[Container]:
        return [container for host, container in self._containers.items() if host not in self._codes]


class _Output:
    """Hands a container's output to its stream; the empty piece is the end."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink

    def __call__(self, data: bytes) -> None:
        if data:
            self._sink.write(data)
        else:
            self._sink.close()
