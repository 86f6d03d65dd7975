"""Containers by Linux namespaces, without a daemon: the executor of a fresh machine.

``start`` writes a plan into the container's scratch folder and starts the launcher (``launch``), which outlives this
process. Everything a restarted sandbox needs to take the container up again is in the scratch folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clary.errors import SandboxError
from clary.sandbox.containers import cgroups
from clary.sandbox.containers.command import command_line
from clary.sandbox.containers.credentials import CredentialsServer, Grant
from clary.sandbox.containers.image import Image, ImageSource, base_executable, open_to_all
from clary.sandbox.containers.plan import EXIT, OUTPUT, PLAN, STATE, Plan, UserNamespace
from clary.sandbox.containers.starter import Starter
from clary.sandbox.containers.switch import Place, Switches
from clary.sandbox.containers.tail import Tail
from clary.sandbox.containers.unpacking import lay_over
from clary.sandbox.identity import lives, start_mark
from clary.sandbox.model import ContainerSpec, EntrypointError, ImageNotFound, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LAUNCHER_LOG = "launcher.log"
_LOST = {"exit_code": 137, "out_of_memory": False}
"""How a container ended whose launcher was killed: the kernel killed it too, and nobody could write it down."""


@dataclass(frozen=True)
class Mode:
    """Which of the kernel's means work here."""

    user_namespace: UserNamespace
    overlay: bool


class NamespaceExecutor:
    """Starts containers in namespaces of their own."""

    name = "namespaces"

    def __init__(self, data: Path, sources: Sequence[ImageSource], mode: Mode) -> None:
        self._data = data
        self._sources = tuple(sources)
        self._mode = mode
        self._memory = cgroups.memory_can_be_limited()
        self._starter = Starter(base_executable())
        self._credentials = CredentialsServer(data)
        self._switches = Switches(mode.user_namespace)
        self._live: set[NamespaceContainer] = set()
        self._lock = threading.Lock()
        self.not_honoured = tuple(self._limits())

    def _limits(self) -> list[str]:
        limits = ["Containers reach the sandbox, their credentials and the other hosts of their job, not the internet."]
        if not self._memory:
            limits.append("Memory limits: control groups cannot be made here, so a job may use all memory there is.")
        if not self._mode.overlay:
            limits.append(
                "A writable image: overlay file systems are refused here, so /usr and /opt/venv are read-only."
            )
        if self._mode.user_namespace is UserNamespace.NONE:
            limits.append(
                "User namespaces are refused here: containers run as this machine's root, with few capabilities."
            )
        if self._mode.user_namespace is UserNamespace.SINGLE:
            limits.append(
                "Only one user exists in a container: changing the owner of a file is refused, and an image's USER is"
                " not taken."
            )
        return limits

    def fetch(self, image: str) -> None:
        """Have an image ready; see ``clary.sandbox.model.Executor``."""
        found = self._resolve(image)
        if self._mode.overlay and not all(layer.marked for layer in found.layers):
            raise ImageNotFound("the image removes files of its base, which this file system cannot show")

    def start(self, spec: ContainerSpec, output: Callable[[bytes], None]) -> NamespaceContainer:
        """Start a container; see ``clary.sandbox.model.Executor``."""
        image = self._resolve(spec.image)
        if image.user:
            open_to_all(spec.opt_ml)
        arguments = command_line(image, spec)
        place = self._switches.place(spec)
        grant = None
        groups: list[str] = []
        try:
            if spec.credentials is not None and spec.network is Network.SANDBOX:
                grant = self._credentials.grant(spec.credentials)
            if spec.memory_bytes is not None and self._memory:
                groups = cgroups.limit_memory(spec.memory_bytes) or []
            plan = self._plan(spec, image, arguments, place, grant, groups)
            self._launch(plan, place)
            self._switches.started(spec)
        except BaseException:
            cgroups.release(groups)
            self._switches.ended(spec.job)
            if grant is not None:
                self._credentials.revoke(grant.token)
            raise
        return self._follow(spec, output, plan)

    def adopt(self, spec: ContainerSpec, pid: int, output: Callable[[bytes], None]) -> NamespaceContainer | None:
        """Take up a container of an earlier process, even one that has ended meanwhile; None when nothing is left."""
        try:
            state = json.loads((spec.scratch / STATE).read_text())
            plan = Plan.read(spec.scratch / PLAN)
        except (OSError, ValueError):
            return None
        ended = (spec.scratch / EXIT).exists()
        if state["pid"] != pid or not (ended or lives(state["launcher"], state["launcher_started"])):
            cgroups.release(plan.memory_groups)
            return None
        if plan.credentials_token and spec.credentials is not None:
            path = plan.environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
            self._credentials.restore(Grant(plan.credentials_token, path, spec.credentials))
        return self._follow(spec, output, plan)

    def close(self) -> None:
        """Stop answering for credentials and following output; containers go on and can be adopted."""
        with self._lock:
            left = list(self._live)
        for container in left:
            container.leave()
        self._credentials.close()
        self._switches.close()
        self._starter.close()

    def _resolve(self, reference: str) -> Image:
        *others, last = self._sources
        for source in others:
            try:
                return source.resolve(reference)
            except ImageNotFound:
                continue
        return last.resolve(reference)

    def _plan(
        self,
        spec: ContainerSpec,
        image: Image,
        arguments: Sequence[str],
        place: Place,
        grant: Grant | None,
        groups: list[str],
    ) -> Plan:
        spec.scratch.mkdir(parents=True, exist_ok=True)
        root = spec.scratch / "root"
        if self._mode.overlay:
            root.mkdir(exist_ok=True)
        else:
            shutil.copytree(image.root, root, symlinks=True)
            for layer in image.layers:
                lay_over(layer, root)
        environment = {"HOSTNAME": spec.host, **image.environment, **spec.environment}
        if grant is not None:
            environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = grant.path
        reaches = spec.network is Network.SANDBOX
        return Plan(
            host=spec.host,
            arguments=arguments,
            environment=environment,
            workdir=image.workdir,
            user=image.user,
            root=str(image.root),
            layers=[layer.path.name for layer in reversed(image.layers)],
            mounts=image.mounts,
            hidden=image.hidden,
            opt_ml=str(spec.opt_ml),
            read_only=tuple(spec.read_only),
            scratch=str(spec.scratch),
            sockets=str(self._data) if reaches else "",
            address=place.address,
            etc_hosts=place.etc_hosts,
            user_namespace=self._mode.user_namespace,
            overlay=self._mode.overlay,
            endpoint_port=(urlsplit(spec.endpoint).port or 80) if reaches and spec.endpoint else 0,
            credentials_token="" if grant is None else grant.token,
            memory_groups=groups,
            join=place.process,
        )

    def _launch(self, plan: Plan, place: Place) -> None:
        path = plan.write()
        scratch = Path(plan.scratch)
        (scratch / OUTPUT).touch(mode=0o600)
        reading, writing = os.pipe()
        try:
            with (scratch / _LAUNCHER_LOG).open("ab") as log:
                self._starter.launch(path, writing, log.fileno(), place.lifeline)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        # The pipe ends when the command has begun: its descriptor closes with the exec.
        with os.fdopen(reading, "rb") as status:
            said = {name: value for line in status for name, value in json.loads(line).items()}
        if "pid" in said and not {"failed", "error"} & said.keys():
            return
        if "launcher" in said:
            _await_end(launcher := int(said["launcher"]), start_mark(launcher))
        if "error" in said:
            raise EntrypointError(said["error"], said["exit_code"])
        why = said.get("failed") or (scratch / _LAUNCHER_LOG).read_text().strip()[-500:]
        raise SandboxError(
            "sandbox.container_failed",
            f"The container could not be made: {why}",
            next_step="Run `clary sandbox status`, which tells what this machine allows, and report this text.",
        )

    def _follow(self, spec: ContainerSpec, output: Callable[[bytes], None], plan: Plan) -> NamespaceContainer:
        def when_ended(container: NamespaceContainer) -> None:
            self._credentials.revoke(plan.credentials_token)
            self._switches.ended(spec.job)
            with self._lock:
                self._live.discard(container)

        container = NamespaceContainer(spec.scratch, output, plan.memory_groups)
        with self._lock:
            self._live.add(container)
        container.watch(when_ended)
        return container


class NamespaceContainer:
    """A container whose launcher runs beside it."""

    def __init__(self, scratch: Path, output: Callable[[bytes], None], memory_groups: Sequence[str]) -> None:
        self._scratch = scratch
        self._memory_groups = memory_groups
        state = json.loads((scratch / STATE).read_text())
        self.pid = int(state["pid"])
        self._started: str | None = state["started"]
        self._launcher = int(state["launcher"])
        self._launcher_started: str | None = state["launcher_started"]
        self._result: Mapping[str, object] = {}
        self._ended = threading.Event()
        self._tail = Tail(scratch / OUTPUT, output)
        self._reader = threading.Thread(target=self._tail.run, name=f"output-{self.pid}", daemon=True)
        self._reader.start()

    def watch(self, when_ended: Callable[[NamespaceContainer], None]) -> None:
        """Begin to wait for its end, and call ``when_ended`` then."""
        threading.Thread(target=self._watch, args=(when_ended,), name=f"container-{self.pid}", daemon=True).start()

    def leave(self) -> None:
        """Stop following its output."""
        self._tail.leave()
        self._reader.join()

    def signal(self, number: int) -> None:
        """Send a signal to the container's PID 1."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return
        try:
            if lives(self.pid, self._started):
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code once everything written has been delivered, or None after ``timeout`` seconds."""
        if not self._ended.wait(timeout):
            return None
        return int(str(self._result["exit_code"]))

    def kill(self) -> None:
        """End every process of the container: without its PID 1 the kernel lets none live."""
        self.signal(signal.SIGKILL)

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of it for want of memory."""
        return bool(self._result.get("out_of_memory"))

    def _watch(self, when_ended: Callable[[NamespaceContainer], None]) -> None:
        _await_end(self._launcher, self._launcher_started)
        # The launcher sees to the rest, unless it was killed: then the kernel ends the container a moment later.
        _await_end(self.pid, self._started)
        cgroups.release(self._memory_groups)
        try:
            self._result = json.loads((self._scratch / EXIT).read_text())
        except OSError:
            self._result = _LOST
        self._tail.end()
        self._reader.join()
        when_ended(self)
        self._ended.set()


def _await_end(pid: int, mark: str | None) -> None:
    """Wait until the process of that mark has ended, which is not a child of this one."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if lives(pid, mark):
            select.select([handle], [], [])
    finally:
        os.close(handle)


def find_mode(image: Image) -> tuple[Mode | None, str]:
    """Try the ways of making a container, the safest first; returns the first that works, or why none does."""
    why = ""
    users = (UserNamespace.FULL, UserNamespace.NONE) if os.getuid() == 0 else (UserNamespace.SINGLE,)
    for user in users:
        for overlay in (True, False):
            try:
                _try(image, Mode(user, overlay))
            except (OSError, SandboxError, EntrypointError) as error:
                why = getattr(error, "summary", str(error))
                continue
            return Mode(user, overlay), ""
    return None, why


class _Only:
    def __init__(self, image: Image) -> None:
        self._image = image

    def resolve(self, reference: str) -> Image:  # noqa: ARG002 - there is only one
        return self._image


def _try(image: Image, mode: Mode) -> None:
    with tempfile.TemporaryDirectory(prefix="probe-", dir=image.root.parents[1], ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        (place / "ml").mkdir()
        executor = NamespaceExecutor(place, [_Only(image)], mode)
        try:
            spec = ContainerSpec(
                job="probe", host="algo-1", hosts=["algo-1"], image="", entrypoint=["/bin/true"], arguments=None,
                environment={}, opt_ml=place / "ml", scratch=place / "scratch", network=Network.NONE,
            )  # fmt: skip
            code = executor.start(spec, lambda _: None).wait(10)
        finally:
            executor.close()
    if code != 0:
        raise OSError(f"a trial container ended with {code}")
