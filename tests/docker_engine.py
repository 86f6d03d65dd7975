"""A Docker engine, a registry and a base image of this machine's own Python: real ones, started for a test session.

The engine is Debian's (docker.io, 20.10), as root, with a folder, a socket and no network of its own.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from clary.images import oci
from clary.images.building import Python
from clary.images.reference import Reference
from patience import until
from registry_server import docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = "/usr/bin/docker"
"""Debian's own client, whatever else is called docker here: the one with BuildKit in it."""
TOOLS = (CLIENT, "/usr/sbin/dockerd", "/usr/bin/docker-registry", "/usr/bin/skopeo", "/bin/busybox")
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PREFIX = "usr/local"
_APPLETS = ("sh", "cat", "env", "mkdir", "ls", "find", "id", "stat", "chmod", "test", "printf", "head", "rm", "sort")
_LEFT_OUT = ("test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages")


def missing() -> list[str]:
    """Name what is not here. Debian's packages: docker.io, docker-registry, skopeo, busybox-static."""
    tools = [tool for tool in TOOLS if not Path(tool).exists()]
    return tools if os.geteuid() == 0 else [*tools, "the rights of root"]


@dataclass(frozen=True)
class Engine:
    """A running engine and a running registry."""

    socket: Path
    registry: str
    """Host and port."""
    base: Reference
    """The base image in the registry, with its digest."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes Docker's client use this engine."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}

    @property
    def python(self) -> Python:
        """The base's interpreter."""
        return Python(_VERSION, f"/{_PREFIX}/bin/python{_VERSION}", "glibc", (2, 28))

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run Docker's client and return what it says."""
        command = [CLIENT, *arguments]
        done = subprocess.run(command, input=stdin, env=self.environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def look(self, reference: Reference) -> bytes:
        """Return the manifest that the registry has, as skopeo shows it."""
        name = f"docker://{self.registry}/{reference.repository}"
        pointer = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
        command = ["skopeo", "inspect", "--raw", "--tls-verify=false", name + pointer]
        return subprocess.run(command, capture_output=True, check=True).stdout


@contextmanager
def engine_running(folder: Path) -> Iterator[Engine]:
    """Run an engine and a registry for as long as the context lasts; both are ended by their own process."""
    (folder / "registry").mkdir()
    with docker_registry(folder / "registry") as server, dockerd(folder / "docker") as place:
        registry = server.host
        engine = Engine(place, registry, Reference(registry, "base/python"))
        name = f"{registry}/base/python:{_VERSION}"
        path = f"ENV PATH=/{_PREFIX}/bin:/usr/bin:/bin"
        engine.docker("import", "--change", path, "--change", "LABEL of=base", "-", name, stdin=_root())
        engine.docker("push", name)
        digest = oci.digest_of(engine.look(Reference(registry, "base/python", _VERSION)))
        yield Engine(place, registry, Reference(registry, "base/python", _VERSION, digest))


@contextmanager
def dockerd(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    place = folder / "socket"
    command = [
        *("/usr/sbin/dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")),
        *("-H", f"unix://{place}", "--storage-driver", "overlay2"),
    ]
    try:
        with _running(command, folder / "log"):
            _wait(place.is_socket, folder / "log")
            yield place
    finally:
        subprocess.run(["umount", str(folder / "exec/netns/default")], capture_output=True, check=False)
        shutil.rmtree(folder / "data", ignore_errors=True)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(ready: Callable[[], bool], log: Path) -> None:
    try:
        until(ready, "Docker's engine")
    except pytest.fail.Exception as failure:
        raise AssertionError(log.read_text()) from failure


def _root() -> bytes:
    """Return a file system as a tar: busybox, this Python without its tests and packages, and their libraries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("tmp", "root", "mnt", "etc", "run", "proc", "sys", "dev", "usr/bin"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        _text(tar, "etc/passwd", "root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n")
        _text(tar, "etc/group", "root:x:0:\nworker:x:1000:\n")
        tar.add("/bin/busybox", "bin/busybox")
        for name in _APPLETS:
            _link(tar, f"bin/{name}", "busybox")
        _link(tar, f"{_PREFIX}/bin/python3", f"python{_VERSION}")
        _add_python(tar)
    return packed.getvalue()


def _add_python(tar: tarfile.TarFile) -> None:
    program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    modules = Path(sysconfig.get_path("stdlib"))

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = Path(entry.name).parts[4:]
        dropped = parts and (parts[0] in _LEFT_OUT or parts[0].startswith("config-"))
        return None if dropped or "__pycache__" in parts else entry

    tar.add(program, f"{_PREFIX}/bin/python{_VERSION}")
    tar.add(modules, f"{_PREFIX}/lib/python{_VERSION}", filter=kept)
    for library in _libraries([program, Path(find_uv_bin()), *modules.glob("lib-dynload/*.so")]):
        tar.add(library.resolve(), f"lib/x86_64-linux-gnu/{library.name}")
    tar.add(Path("/lib64/ld-linux-x86-64.so.2").resolve(), "lib64/ld-linux-x86-64.so.2")


def _libraries(files: list[Path]) -> list[Path]:
    done = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=True)
    places = [line.split("=>")[1].split()[0] for line in done.stdout.splitlines() if "=> /" in line]
    return sorted({Path(place) for place in places if "x86-64" not in place})


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))
