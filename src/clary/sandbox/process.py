"""The sandbox's process: takes the data folder, brings everything back, serves until it is told to stop.

Started by ``api`` as ``python -m clary.sandbox.process``; ``--ready-fd`` is the pipe on which it says that it is
ready, or why it is not.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError, SandboxError
from clary.files import write_whole
from clary.sandbox import bootstrap
from clary.sandbox.admin import Admin
from clary.sandbox.clock import SandboxClock
from clary.sandbox.contact import ENFORCE, IAM_MODES, LOCK, OFF, STATE, TOKEN
from clary.sandbox.containers.plan import SANDBOX_SOCKET
from clary.sandbox.events import EventPump
from clary.sandbox.faults import Faults
from clary.sandbox.gateway import Gateway
from clary.sandbox.http import HttpServer
from clary.sandbox.identity import start_mark
from clary.sandbox.operations.context import JobLife, Platform
from clary.sandbox.quotas import Quotas
from clary.sandbox.rates import Rates
from clary.sandbox.registry.arrivals import Arrivals
from clary.sandbox.registry.control import Control
from clary.sandbox.registry.own_image import OwnImage
from clary.sandbox.registry.registry import FOLDER, Registry
from clary.sandbox.registry.rights import Rights
from clary.sandbox.registry.store import Store
from clary.sandbox.roster import Roster
from clary.sandbox.schedules import Schedules
from clary.sandbox.server import Front, bind
from clary.sandbox.services import SandboxServices
from clary.sandbox.store import SqliteJobStore

if TYPE_CHECKING:
    import socket

    from clary.sandbox.iam.guard import Guard

_log = logging.getLogger("clary.sandbox")
USUAL_PORT = 4599
"""The port of a sandbox that was given none, while it is free."""


@dataclass(frozen=True)
class Settings:
    """How a sandbox is started."""

    data: Path
    port: int = 0
    clock_speed: float = 1.0
    requirements: Sequence[str] = ()
    iam: str | None = None
    """``enforce`` or ``off``; None is what it was the last time, at first ``off``."""


@dataclass(frozen=True)
class Runner:
    """What runs the jobs, and what is to be said of it."""

    life: JobLife
    executor: str
    not_honoured: Sequence[str] = ()


MakeRunner = Callable[[Settings, SandboxServices, SqliteJobStore], Runner]


def containers(settings: Settings, services: SandboxServices, store: SqliteJobStore) -> Runner:
    """Run jobs in the containers that this machine allows."""
    from clary.sandbox.containers import choose_executor
    from clary.sandbox.life import Life
    from clary.sandbox.registry.source import RegistryImages

    images = RegistryImages(settings.data, services.registry)
    if not store.unfinished():
        images.tidy()
    choice = choose_executor(
        settings.data,
        bootstrap.ACCOUNT,
        bootstrap.REGION,
        requirements=tuple(settings.requirements),
        sources=[images],
        archives=images,
    )
    executor = Roster(choice.executor)
    return Runner(Life(services, store, executor), executor.name, [*executor.not_honoured, *choice.refused])


class Lock:
    """One sandbox for each data folder: held as long as the process lives, however it ends."""

    def __init__(self, data: Path) -> None:
        self._file = (data / LOCK).open("a")

    def take(self) -> bool:
        """Take the lock; False when another process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let it go."""
        self._file.close()


def serve(settings: Settings, ready: Callable[[dict[str, Any]], None], make_runner: MakeRunner = containers) -> None:
    """Run a sandbox until SIGTERM or SIGINT. ``ready`` is called once with its state when requests are answered.

    Raises SandboxError when the folder is in use or the port is taken.
    """
    os.umask(0o077)
    data = settings.data
    data.mkdir(parents=True, exist_ok=True)
    lock = Lock(data)
    if not lock.take():
        raise SandboxError(
            "sandbox.already_running",
            f"Another sandbox uses {data}.",
            next_step="`clary sandbox status` shows it; give this one another folder with --data.",
        )
    try:
        _Running(settings).run(ready, make_runner)
    finally:
        lock.release()


class _Running:
    """The parts of a sandbox, put together."""

    def __init__(self, settings: Settings) -> None:
        self._data = data = settings.data
        self._started = time.time()
        self._settings = settings
        self._listener = _listen(settings.port, data)
        self._iam = _remembered(data / "iam", settings.iam)
        self._endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        clocks: list[SandboxClock] = []

        def make_clock(not_before: float) -> SandboxClock:
            clocks.append(SandboxClock(settings.clock_speed, not_before=not_before))
            return clocks[-1]

        self._store = SqliteJobStore(data / "jobs.db", make_clock)
        self._clock = clocks[0]
        self._gateway = Gateway(data, bootstrap.ACCOUNT)
        self._rates = Rates()
        self._faults = Faults()

    def run(self, ready: Callable[[dict[str, Any]], None], make_runner: MakeRunner) -> None:
        """Bring back what was, serve, and let go in order."""
        for line in self._gateway.restore():
            _log.warning("not restored: %s", line)
        bootstrap.ensure(self._gateway)
        guard = self._weigher() if self._iam == ENFORCE else None
        registry = self._registry(guard)
        services = SandboxServices(
            clock=self._clock,
            data=self._data,
            endpoint=self._endpoint,
            gateway=self._gateway,
            faults=self._faults,
            guard=guard,
            registry=registry,
        )
        runner = make_runner(self._settings, services, self._store)
        life = runner.life
        platform = Platform(
            store=self._store,
            life=life,
            gateway=self._gateway,
            quotas=Quotas(self._store.database, self._rates),
            faults=self._faults,
            clock=self._clock,
        )
        state = self._state(runner)
        admin = Admin(
            token=self._token(),
            platform=platform,
            clock=self._clock,
            rates=self._rates,
            facts=state,
            started=self._started,
        )
        schedules = Schedules(self._data, self._gateway, self._clock)
        ecr = Control(registry, self._gateway)
        front = Front(platform, self._rates, admin, guard, schedules, registry, ecr)
        arrivals = Arrivals(registry.store.blobs, self._faults)
        server = HttpServer(front, self._listener, self._data / SANDBOX_SOCKET, arrivals)
        pump = EventPump(self._store, self._gateway, self._faults)
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, _leave)
        try:
            for job in self._store.unfinished():
                life.adopt(job)
            pump.start()
            schedules.start(front.respond)
            write_whole(self._data / STATE, json.dumps(state))
            ready(state)
            server.run()
        finally:
            (self._data / STATE).unlink(missing_ok=True)
            schedules.close()
            life.close()
            pump.close()
            self._store.close()
            registry.close()
            self._gateway.close()

    def _registry(self, guard: Guard | None) -> Registry:
        store = Store(self._data / FOLDER)
        registry = Registry(
            store,
            endpoint=self._endpoint,
            faults=self._faults,
            rights=Rights(self._gateway, lambda: guard or self._weigher(), enforced=guard is not None),
            own=OwnImage(store, self._data, bootstrap.ACCOUNT, tuple(self._settings.requirements)),
        )
        registry.sync()
        registry.store.sweep(files=True)
        return registry

    def _weigher(self) -> Guard:
        """Return what weighs policies: those of repositories always, all others while they are enforced."""
        from clary.sandbox.iam.facts import MotoFacts
        from clary.sandbox.iam.guard import Guard
        from clary.sandbox.iam.principals import Principals

        return Guard(Principals(self._gateway.sessions, bootstrap.ACCOUNT), MotoFacts(self._store))

    def _state(self, runner: Runner) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "start_mark": start_mark(os.getpid()),
            "endpoint": self._endpoint,
            "account": bootstrap.ACCOUNT,
            "region": bootstrap.REGION,
            "bucket": bootstrap.bucket_name(),
            "role": bootstrap.role_arn(),
            "scheduler_role": bootstrap.role_arn("scheduler"),
            "executor": runner.executor,
            "not_honoured": list(runner.not_honoured),
            "iam": self._iam,
            "started": self._started,
        }

    def _token(self) -> str:
        path = self._data / TOKEN
        if not path.exists():
            write_whole(path, secrets.token_urlsafe(32))
        return path.read_text()


def _leave(number: int, _frame: Any) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _listen(port: int, data: Path) -> socket.socket:
    """Bind the port; with 0, the one of the last time, which running containers know, or the usual one, or any."""
    kept = data / "port"
    listener = _first_free([*_last_port(kept), USUAL_PORT]) if port == 0 else None
    listener = listener or bind(port)
    write_whole(kept, str(listener.getsockname()[1]))
    return listener


def _remembered(kept: Path, wanted: str | None) -> str:
    """Return whether IAM policies are weighed: as it is wished now, else as the last time."""
    if wanted is None:
        found = kept.read_text() if kept.exists() else OFF
        return found if found in IAM_MODES else OFF
    write_whole(kept, wanted)
    return wanted


def _last_port(kept: Path) -> list[int]:
    try:
        return [int(kept.read_text())]
    except (FileNotFoundError, ValueError):
        return []


def _first_free(ports: Sequence[int]) -> socket.socket | None:
    for port in ports:
        with contextlib.suppress(SandboxError):
            return bind(port)
    return None


def main(arguments: Sequence[str] | None = None, make_runner: MakeRunner = containers) -> int:
    """Run the sandbox's process."""
    parser = argparse.ArgumentParser(prog="clary.sandbox.process")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--clock-speed", type=float, default=1.0)
    parser.add_argument("--requirements", type=json.loads, default=[])
    parser.add_argument("--iam", choices=IAM_MODES)
    parser.add_argument("--ready-fd", type=int, required=True)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)

    def tell(document: dict[str, Any]) -> None:
        with os.fdopen(given.ready_fd, "w") as pipe:
            pipe.write(json.dumps(document) + "\n")

    settings = Settings(given.data, given.port, given.clock_speed, given.requirements, given.iam)
    try:
        serve(settings, lambda state: tell({"state": state}), make_runner)
    except ClaryError as error:
        _log.error("%s", error.summary)
        tell({"error": error.to_dict()})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
