"""Containers by a Docker engine, through its command line. For machines without Linux namespaces of their own.

The sandbox's own image is a picture of a Linux host and cannot run here; the official ``python:<X.Y>-slim`` stands in.
The engine keeps the container and its output, so both outlive the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Protocol

from clary.sandbox.containers.command import FIXED_CREDENTIALS, fixed_credentials
from clary.sandbox.model import ContainerSpec, EntrypointError, ImageNotFound, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_OWN = "/clary-sandbox/python:"
_LOADED = "clary-sandbox/loaded:"
"""Images of the sandbox's registry are called so in the engine, by their digest."""
_PATIENCE = 10.0
"""Seconds an engine may take to say that it is there."""


class Archives(Protocol):
    """Images as archives that an engine loads, so that it needs neither an address nor a password."""

    def digest(self, reference: str) -> str | None:
        """Return the digest of an image, or None for one that is not of ECR; raises ImageNotFound."""

    def write(self, reference: str, name: str, file: IO[bytes]) -> None:
        """Write an image as ``docker load`` reads it, called ``name``."""


def find_engine() -> tuple[str | None, str]:
    """Return the path of a ``docker`` whose engine answers, or why there is none."""
    program = shutil.which("docker")
    if program is None:
        return None, "there is no `docker` command"
    try:
        done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"`docker info` failed: {error}"
    if done.returncode != 0:
        return None, f"the Docker engine does not answer: {done.stderr.strip()[-200:]}"
    return program, ""


def run_arguments(spec: ContainerSpec, image: str, cidfile: Path) -> list[str]:
    """Return the words after ``docker`` that start the container of ``spec`` from ``image``."""
    words = ["run", "--detach", "--cidfile", str(cidfile), "--hostname", spec.host]
    words += ["--volume", f"{spec.opt_ml}:/opt/ml"]
    for path in spec.read_only:
        words += ["--volume", f"{spec.opt_ml}{path.removeprefix('/opt/ml')}:{path}:ro"]
    words += ["--network", "none" if spec.network is Network.NONE else "host"]
    words += ["--security-opt", "no-new-privileges"]
    if spec.memory_bytes is not None:
        words += ["--memory", str(spec.memory_bytes), "--memory-swap", str(spec.memory_bytes)]
    # Values stay out of the command line, which every user of the machine can read: docker takes them from its own.
    for name in sorted({**spec.environment, **fixed_credentials(spec)}):
        words += ["--env", name]
    if spec.entrypoint is not None:
        words += ["--entrypoint", spec.entrypoint[0]]
    words.append(image)
    return [*words, *(spec.entrypoint or ())[1:], *(spec.arguments or ())]


class DockerExecutor:
    """Starts containers with ``docker run``."""

    name = "docker"
    not_honoured = (
        f"The sandbox's own image: python:{sys.version_info.major}.{sys.version_info.minor}-slim stands in for it.",
        "A network of their own: containers share the engine's host network, and hosts of one job its name.",
        FIXED_CREDENTIALS,
    )

    def __init__(self, program: str, archives: Archives | None = None) -> None:
        self._program = program
        self._archives = archives

    def fetch(self, image: str) -> None:
        """Load an image of the sandbox's registry into the engine, unless it has it; others the engine pulls itself."""
        name = self._name(image)
        if self._archives is None or not name.startswith(_LOADED):
            return
        known = subprocess.run([self._program, "image", "inspect", name], capture_output=True, check=False)
        if known.returncode == 0:
            return
        with subprocess.Popen(
            [self._program, "load"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as load:
            assert load.stdin is not None
            assert load.stderr is not None
            with contextlib.suppress(BrokenPipeError):
                self._archives.write(image, name, load.stdin)
                load.stdin.close()
            said = load.stderr.read().decode(errors="replace").strip()
        if load.returncode != 0:
            raise ImageNotFound(f"Docker cannot load {image}: {said}")

    def _name(self, image: str) -> str:
        """Return what the engine calls an image."""
        if _OWN in image:
            return f"python:{image.partition(_OWN)[2]}-slim"
        digest = None if self._archives is None else self._archives.digest(image)
        return image if digest is None else f"{_LOADED}{digest.removeprefix('sha256:')[:32]}"

    def start(self, spec: ContainerSpec, output: Callable[[bytes], None]) -> DockerContainer:
        """Start a container; see ``clary.sandbox.model.Executor``."""
        if len(spec.hosts) > 1:
            raise ImageNotFound("With Docker the sandbox runs jobs of one instance only; use Linux for several.")
        spec.scratch.mkdir(parents=True, exist_ok=True)
        cidfile = spec.scratch / "container-id"
        cidfile.unlink(missing_ok=True)
        image = self._name(spec.image)
        words = run_arguments(spec, image, cidfile)
        environment = {**self._environment(), **spec.environment, **fixed_credentials(spec)}
        done = subprocess.run([self._program, *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode in (126, 127):
            raise EntrypointError(done.stderr.strip(), done.returncode)
        if done.returncode != 0:
            raise ImageNotFound(f"Docker cannot run {image}: {done.stderr.strip()}")
        return DockerContainer(self._program, cidfile.read_text().strip(), output)

    def adopt(self, spec: ContainerSpec, pid: int, output: Callable[[bytes], None]) -> DockerContainer | None:  # noqa: ARG002 - the engine knows it by its own id
        """Take up a container that the engine still knows; its output is delivered again from the start."""
        try:
            identity = (spec.scratch / "container-id").read_text().strip()
            return DockerContainer(self._program, identity, output)
        except (OSError, subprocess.CalledProcessError):
            return None

    def close(self) -> None:
        """Do nothing: the engine keeps what runs."""

    @staticmethod
    def _environment() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or "DOCKER" in name}


class DockerContainer:
    """A container of the engine."""

    def __init__(self, program: str, identity: str, output: Callable[[bytes], None]) -> None:
        self._docker = (program,)
        self._identity = identity
        self._output = output
        self._out_of_memory = False
        self._code = 1
        self._ended = threading.Event()
        self.pid = int(self._state()["Pid"])
        threading.Thread(target=self._watch, name=f"container-{identity[:12]}", daemon=True).start()

    def signal(self, number: int) -> None:
        """Send a signal to the container's PID 1."""
        self._run("kill", "--signal", str(number), self._identity)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None after ``timeout`` seconds."""
        return self._code if self._ended.wait(timeout) else None

    def kill(self) -> None:
        """End every process of the container."""
        self._run("kill", self._identity)

    @property
    def out_of_memory(self) -> bool:
        """Whether the engine says that memory ran out."""
        return self._out_of_memory

    def _run(self, *words: str) -> None:
        subprocess.run([*self._docker, *words], capture_output=True, check=False)

    def _state(self) -> dict[str, Any]:
        words = [*self._docker, "inspect", "--format", "{{json .State}}", self._identity]
        state: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        return state

    def _watch(self) -> None:
        follow: Sequence[str] = [*self._docker, "logs", "--follow", self._identity]
        with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as logs:
            assert logs.stdout is not None
            while data := os.read(logs.stdout.fileno(), 65536):
                self._output(data)
        self._run("wait", self._identity)
        state = self._state()
        self._code, self._out_of_memory = int(state["ExitCode"]), bool(state["OOMKilled"])
        self._run("rm", "--force", self._identity)
        self._output(b"")
        self._ended.set()
