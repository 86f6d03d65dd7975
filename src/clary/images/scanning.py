"""Which Python a base has: found by reading the names in its layers, once for each base."""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.files import write_whole
from clary.images.base_layers import GONE, LARGEST, OPAQUE, follow, look_through
from clary.images.building import DEFAULT_PATH, Python
from clary.images.chunks import ChunkFile

if TYPE_CHECKING:
    from clary.images.oci import Config, Descriptor, Manifest
    from clary.images.platforms import Platform

_LIBRARY = 8 * 1024 * 1024
"""Bytes of a C library that are searched for its version."""
_PROGRAM = re.compile(r"(?:[\w-]+-)?python(?:3(?:\.(?P<minor>\d+))?)?")
"""Names of interpreters; with a prefix some systems name their own."""
_MOST_LINKS = 500_000
"""Of an image; further ones are not followed."""
_FORM = 2
"""Of what is kept: grows when the same layers give another finding."""
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,80}release version (\d+)\.(\d+)")
_MUSL = re.compile(r"(?:.*/)?lib/ld-musl-[a-z0-9_]+\.so\.1")
_MUSL_VERSION = (1, 2)
"""Of every Alpine since 3.13 (2021)."""


@dataclass
class _Layer:
    """What one layer brings, and what it takes away of those below it."""

    links: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str | None] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)

    def hides(self, path: str) -> bool:
        """Tell whether a path of a layer below is not to be seen any more."""
        if path in self.gone:
            return True
        while path != "/":
            path = posixpath.dirname(path)
            if path in self.gone or path in self.emptied:
                return True
        return False


@dataclass
class Seen:
    """What the layers read so far hold, the later ones over the earlier."""

    links: dict[str, str] = field(default_factory=dict)
    """The symbolic links of the image, by absolute path, and what is written in them."""
    programs: dict[str, str | None] = field(default_factory=dict)
    """Files named like an interpreter, by absolute path, and the file that they are a name of: themselves, or of a hard
    link the other one. None for a script, which may start any."""
    libc: str | None = None
    libc_version: tuple[int, int] | None = None

    def read(self, chunks: Iterable[bytes]) -> None:
        """Look through one layer: the chunks of a tar compressed by gzip. Raises tarfile.TarError, OSError."""
        layer = _Layer()
        with tarfile.open(fileobj=ChunkFile(chunks), mode="r|gz") as archive:
            for member in archive:
                self._look(member, archive, layer)
        self._lay_over(layer)

    def _look(self, member: tarfile.TarInfo, archive: tarfile.TarFile, layer: _Layer) -> None:
        path = posixpath.normpath("/" + member.name.lstrip("/"))
        folder, name = posixpath.split(path)
        if name == OPAQUE:
            layer.emptied.add(folder)
        elif name.startswith(GONE):
            layer.gone.add(posixpath.join(folder, name.removeprefix(GONE)))
        elif member.issym():
            layer.links[path] = member.linkname
        else:
            if path in self.links:
                layer.gone.add(path)
            if (member.isfile() or member.islnk()) and _PROGRAM.fullmatch(name):
                layer.programs[path] = _body(path, member, archive)
        if _MUSL.fullmatch(path):
            self.libc, self.libc_version = "musl", _MUSL_VERSION
        elif name.startswith(("libc.so.6", "libc-2.")) and member.isfile():
            content = archive.extractfile(member)
            found = _GLIBC.search(content.read(_LIBRARY)) if content is not None else None
            if found:
                self.libc, self.libc_version = "glibc", (int(found[1]), int(found[2]))

    def _lay_over(self, layer: _Layer) -> None:
        if layer.gone or layer.emptied:
            self.links = {path: leads for path, leads in self.links.items() if not layer.hides(path)}
            self.programs = {path: body for path, body in self.programs.items() if not layer.hides(path)}
        for path, leads in layer.links.items():
            self.programs.pop(path, None)
            if path in self.links or len(self.links) < _MOST_LINKS:
                self.links[path] = leads
        for path, body in layer.programs.items():
            folder, name = posixpath.split(path)
            self.programs[posixpath.join(self._real(folder) or folder, name)] = body

    def python(self, path: str, platform: Platform) -> Python | None:
        """Return the interpreter that ``python3`` is under the variable PATH; None where there is none.

        What cannot be told, such as where a link or a script leads that starts another, is passed over.
        """
        for folder in path.split(":"):
            found = self._in(folder) if folder.startswith("/") else None
            if found is not None:
                executable, minor = found
                version = self.libc_version or (2, 28)
                return Python(f"3.{minor}", executable, self.libc or "glibc", version, platform)
        return None

    def _in(self, folder: str) -> tuple[str, str] | None:
        real = self._real(folder)
        if real is None:
            return None
        plain = posixpath.join(real, "python3")
        if plain in self.links or plain in self.programs:
            return self._interpreter(plain)
        minors = sorted(self._minors(real), reverse=True)
        return next(filter(None, (self._interpreter(f"{plain}.{minor}") for minor in minors)), None)

    def _interpreter(self, path: str) -> tuple[str, str] | None:
        """Return the file that a path leads to, and its minor version."""
        real = self._real(path)
        body = self.programs.get(real) if real is not None else None
        if real is None or body is None or self.programs.get(body, body) is None:
            return None
        minor = self._minor(real, body)
        return None if minor is None else (real, minor)

    def _minor(self, real: str, body: str) -> str | None:
        """Return a file's version: by its name, another name of it, or else the newest beside it."""
        names = [real, *(path for path, other in self.programs.items() if other == body)]
        for path in names:
            found = _PROGRAM.fullmatch(posixpath.basename(path))
            if found is not None and found["minor"]:
                return found["minor"]
        folder = posixpath.dirname(real)
        minors = self._minors(folder)
        own = [minor for minor in minors if self._real(f"{folder}/python3.{minor}") == real]
        return str(max(own or minors)) if minors else None

    def _minors(self, folder: str) -> set[int]:
        """Return the minor versions that ``python3.N`` in a folder, which may be links, are named for."""
        paths = (
            path for table in (self.links, self.programs) for path in table if path.startswith(f"{folder}/python3.")
        )
        return {
            int(path.rpartition(".")[2]) for path in paths if re.fullmatch(r"python3\.\d+", path[len(folder) + 1 :])
        }

    def _real(self, path: str) -> str | None:
        """Return a path with all its links followed; None for a circle."""
        return follow(path, self.links.get)


def _body(path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> str | None:
    """Return the file that a name in a layer is of; None for a script."""
    if member.islnk():
        return posixpath.normpath("/" + member.linkname.lstrip("/"))
    content = archive.extractfile(member)
    return None if content is not None and content.read(2) == b"#!" else path


def python_of(
    manifest: Manifest,
    config: Config,
    read: Callable[[Descriptor], AbstractContextManager[Iterable[bytes]]],
    kept: Path,
) -> Python:
    """Return the interpreter of a base: as it was found before, else by looking through its layers.

    Args:
        manifest: of the base.
        config: of the base.
        read: opens a layer's bytes.
        kept: the folder where findings are kept, by the base's digest.

    Raises ConfigError ``image.no_python``, ``image.base_too_large``, ``image.layer_type``, ``image.bad_layer``.
    """
    file = kept / f"{manifest.digest.removeprefix('sha256:')}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _from_file(json.loads(file.read_bytes()), config.platform)
    if manifest.size > LARGEST:
        raise ConfigError(
            "image.base_too_large",
            "The base is larger than 1 GiB, so its layers are not looked through for its Python.",
            next_step="Use an AWS Deep Learning Container by its short name (pytorch:2.8-gpu), or a smaller base.",
            field="image.base",
        )
    seen = Seen()
    look_through(manifest, read, seen.read)
    found = seen.python(config.environment.get("PATH", DEFAULT_PATH), config.platform)
    if found is None:
        raise ConfigError(
            "image.no_python",
            "The base has no python3 on its PATH.",
            next_step="Name a base with Python, such as python:3.12.",
            field="image.base",
        )
    kept.mkdir(parents=True, exist_ok=True)
    form = {
        "form": _FORM,
        "version": found.version,
        "executable": found.executable,
        "libc": [found.libc, *found.libc_version],
    }
    write_whole(file, json.dumps(form))
    return found


def _from_file(form: dict[str, Any], platform: Platform) -> Python:
    if form["form"] != _FORM:
        raise ValueError(form["form"])
    libc, major, minor = form["libc"]
    return Python(str(form["version"]), str(form["executable"]), str(libc), (int(major), int(minor)), platform)
