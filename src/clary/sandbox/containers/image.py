"""Images: from a reference to a root file system, and the sandbox's own image.

The sandbox's own image is an allow-list of this machine: system libraries, the interpreter that runs the sandbox, and
one environment made for the image with uv. Clary, its object-store client and the project are not in it, nor anything
that was installed next to the interpreter, so that a job that lacks something fails here as it would on SageMaker.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clary.errors import SandboxError
from clary.sandbox.containers.plan import Mount
from clary.sandbox.model import ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clary.sandbox.containers.unpacking import Layer

_LAYOUT = 1
"""Grows when the image's folders change; images of an older layout are then not used."""
OWN_REPOSITORY = "clary-sandbox/python"
_REFERENCE = re.compile(rf"(?P<account>\d{{12}})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/{OWN_REPOSITORY}:.+")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENT = "/opt/venv"
INTERPRETER = "/opt/python"
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "localtime", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust", "alternatives")
_EMPTY = {"root": 0o700, "home": 0o755, "tmp": 0o1777, "var/tmp": 0o1777, "var/log": 0o755, "var/lib": 0o755}
_PLACES = ("dev", "proc", "sys", "run", "mnt", "srv", "opt/ml", ENVIRONMENT[1:], INTERPRETER[1:], "etc")
_GENERATED = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
    "hosts": "",
    "hostname": "",
}


@dataclass(frozen=True)
class Image:
    """A root file system and how to start something in it."""

    reference: str
    root: Path
    """Folder with the file system; only read."""
    layers: Sequence[Layer] = ()
    """What lies over the root, the lowest first; only read."""
    mounts: Sequence[Mount] = ()
    """What of the host is shown in it."""
    hidden: Sequence[str] = ()
    """Folders inside that show nothing."""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """``name`` or ``uid[:gid]``; empty for root."""
    workdir: str = "/"


class ImageSource(Protocol):
    """Somewhere images come from: this machine, a registry."""

    def resolve(self, reference: str) -> Image:
        """Return the image, fetched or made when need be; raises ImageNotFound."""


def image_reference(account: str, region: str) -> str:
    """Return the name of the sandbox's own image, as ECR would name it."""
    from botocore.session import Session

    session = Session()
    partition = session.get_partition_for_region(region)
    known = session.get_data("endpoints")["partitions"]
    suffix = next(each["dnsSuffix"] for each in known if each["partition"] == partition)
    return f"{account}.dkr.ecr.{region}.{suffix}/{OWN_REPOSITORY}:{VERSION}"


class SandboxImages:
    """The source of the sandbox's own image."""

    def __init__(self, data: Path, account: str, requirements: Sequence[str] = ()) -> None:
        self._data = data
        self._account = account
        self._requirements = tuple(requirements)

    def resolve(self, reference: str) -> Image:
        """Return the sandbox's own image; raises ImageNotFound for any other name."""
        known = _REFERENCE.fullmatch(reference)
        if known is None or reference != image_reference(self._account, known["region"]):
            own = image_reference(self._account, known["region"] if known else "us-east-1")
            raise ImageNotFound(f"The sandbox has no image {reference}. The one it has is {own}.")
        return ensure_image(self._data, self._requirements, reference)


def ensure_image(data: Path, requirements: Sequence[str] = (), reference: str = "") -> Image:
    """Return the sandbox's own image with these requirements installed; make it on first use.

    Made once for one interpreter and one set of requirements, in a folder of its own that is moved into place when it
    is complete, so that two sandboxes can do it at once. Without requirements no network is used.
    Raises SandboxError when uv cannot install the requirements.
    """
    interpreter = Path(sys.base_prefix).resolve()
    inside = place_of(interpreter)
    mounts = list(_host_mounts(interpreter, inside))
    recipe = [_LAYOUT, sys.version, str(interpreter), sorted(requirements), [one.target for one in mounts]]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]
    folder = data / "images" / digest
    if not folder.exists():
        _make(folder, requirements, mounts, inside)
    environment = {"PATH": f"{ENVIRONMENT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    if inside != str(interpreter) and sysconfig.get_config_var("Py_ENABLE_SHARED"):
        environment["LD_LIBRARY_PATH"] = f"{inside}/lib"
    mounts.append(Mount(str(folder / "venv"), ENVIRONMENT, layered=True))
    return Image(
        reference=reference,
        root=folder / "root",
        mounts=mounts,
        hidden=sorted(_hidden(data, mounts)),
        command=("python3",),
        environment=environment,
    )


def base_executable() -> Path:
    """Return the interpreter itself, not the virtual environment it may run in."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def place_of(interpreter: Path) -> str:
    """Return where the interpreter's prefix is inside: its own place in the system, or a neutral one."""
    return str(interpreter) if interpreter.is_relative_to("/usr") else INTERPRETER


def _host_mounts(interpreter: Path, inside: str) -> Iterator[Mount]:
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_dir() and not path.is_symlink():
            yield Mount(str(path), str(path), layered=True)
    if inside != str(interpreter):
        yield Mount(str(interpreter), inside, layered=True)
    for name in _ETC:
        path = Path("/etc", name)
        if path.exists():
            yield Mount(str(path), str(path))


def _hidden(data: Path, mounts: Sequence[Mount]) -> Iterator[str]:
    """Name what must not be seen although it lies below something that is shown."""
    private = [data, Path(sys.prefix), Path(__file__).parents[3], Path(os.environ.get("HOME", "/root"))]
    for one in mounts:
        source = Path(one.source)
        if not one.layered or one.target == ENVIRONMENT:
            continue
        for path in private:
            path = path.resolve()
            if path.is_relative_to(source) and path not in (source, Path(sys.base_prefix).resolve()):
                yield str(Path(one.target) / path.relative_to(source))
        for pattern in ("lib*/python3*/*-packages", "local/lib*/python3*/*-packages", "src", "local/src"):
            for path in source.glob(pattern):
                yield str(Path(one.target) / path.relative_to(source))


def _make(folder: Path, requirements: Sequence[str], mounts: Sequence[Mount], inside: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _make_root(partial / "root", mounts)
        _make_environment(partial / "venv", requirements, inside)
        open_to_all(partial)
        for name, mode in _EMPTY.items():
            (partial / "root" / name).chmod(mode)
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_to_all(folder: Path) -> None:
    """Let every user of a container read the image, whatever the sandbox's umask was when it was made."""
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if mode & 0o100 else 0o044))


def _make_root(root: Path, mounts: Sequence[Mount]) -> None:
    for name in _PLACES:
        (root / name).mkdir(parents=True)
    for name in _EMPTY:
        (root / name).mkdir(parents=True)
    for name, text in _GENERATED.items():
        (root / "etc" / name).write_text(text)
    for one in mounts:
        target = root / one.target[1:]
        if Path(one.source).is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    for name in _SYSTEM:
        if (link := Path("/", name)).is_symlink():
            (root / name).symlink_to(link.readlink())


def _make_environment(folder: Path, requirements: Sequence[str], inside: str) -> None:
    base = base_executable().resolve()
    _uv("venv", "--relocatable", "--no-project", "--offline", "--python", str(base), str(folder))
    if requirements:
        python = str(folder / "bin/python")
        _uv("pip", "install", "--compile-bytecode", "--link-mode=copy", "--python", python, *requirements)
    programs = f"{inside}/bin"
    for link in (folder / "bin").iterdir():
        if link.is_symlink() and link.readlink().is_absolute():
            link.unlink()
            link.symlink_to(f"{programs}/{base.name}")
    settings = folder / "pyvenv.cfg"
    lines = settings.read_text().splitlines()
    settings.write_text("".join(f"home = {programs}\n" if one.startswith("home") else f"{one}\n" for one in lines))


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin

    kept = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT", "PYTHONPATH")
    }
    done = subprocess.run(
        [find_uv_bin(), "--quiet", *arguments], cwd="/", env=kept, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SandboxError(
            "sandbox.image_failed",
            f"uv could not make the sandbox's image: {done.stderr.strip()}",
            next_step="Check the requirements given to the sandbox, and that uv can reach its package index.",
        )
