"""Which Python a base has: found by reading the names in its layers, once for each base."""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.files import write_whole
from clary.images import oci
from clary.images.building import DEFAULT_PATH, Python
from clary.images.chunks import ChunkFile

if TYPE_CHECKING:
    from clary.images.oci import Config, Descriptor, Manifest
    from clary.images.platforms import Platform

LARGEST = 1024 * 1024 * 1024
"""Compressed bytes of a base that is looked through; of a larger one the version has to be known."""
_LIBRARY = 8 * 1024 * 1024
"""Bytes of a C library that are searched for its version."""
_INTERPRETER = re.compile(r"(?:.*/)?bin/python(?:3(?:\.(?P<minor>\d+))?)?")
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,80}release version (\d+)\.(\d+)")
_MUSL = re.compile(r"(?:.*/)?lib/ld-musl-[a-z0-9_]+\.so\.1")
_MUSL_VERSION = (1, 2)
"""Of every Alpine since 3.13 (2021)."""


@dataclass
class Seen:
    """What the layers read so far hold, the later ones over the earlier."""

    interpreters: dict[str, str | None] = field(default_factory=dict)
    """Absolute paths of what is called ``python``, ``python3`` or ``python3.N``; of a link also where it leads."""
    folders: dict[str, str] = field(default_factory=dict)
    """Links in the root, which older systems' ``/bin`` is on newer ones."""
    libc: str | None = None
    libc_version: tuple[int, int] | None = None

    def read(self, chunks: Iterable[bytes]) -> None:
        """Look through one layer: the chunks of a tar compressed by gzip. Raises tarfile.TarError, OSError."""
        with tarfile.open(fileobj=ChunkFile(chunks), mode="r|gz") as archive:
            for member in archive:
                self._look(member, archive)

    def _look(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        path = "/" + member.name.removeprefix("./").lstrip("/")
        folder, name = posixpath.split(path)
        if name.startswith(".wh."):
            self.interpreters.pop(posixpath.join(folder, name.removeprefix(".wh.")), None)
        elif member.issym() and folder == "/":
            self.folders[path] = posixpath.normpath(posixpath.join("/", member.linkname))
        elif _INTERPRETER.fullmatch(path) and (member.isfile() or member.issym() or member.islnk()):
            leads = posixpath.normpath(posixpath.join(folder, member.linkname)) if member.issym() else None
            self.interpreters[path] = leads
        elif _MUSL.fullmatch(path):
            self.libc, self.libc_version = "musl", _MUSL_VERSION
        elif name.startswith(("libc.so.6", "libc-2.")) and member.isfile():
            content = archive.extractfile(member)
            found = _GLIBC.search(content.read(_LIBRARY)) if content is not None else None
            if found:
                self.libc, self.libc_version = "glibc", (int(found[1]), int(found[2]))

    def python(self, path: str, platform: Platform) -> Python | None:
        """Return the interpreter that ``python3`` is under the variable PATH; None where there is none."""
        for folder in path.split(":"):
            real = self.folders.get(folder.rstrip("/"), folder.rstrip("/"))
            found = self._in(real)
            if found is not None:
                executable, minor = found
                version = self.libc_version or (2, 28)
                return Python(f"3.{minor}", executable, self.libc or "glibc", version, platform)
        return None

    def _in(self, folder: str) -> tuple[str, str] | None:
        path = f"{folder}/python3"
        seen = set()
        while path not in seen:
            seen.add(path)
            minor = _INTERPRETER.fullmatch(path)
            if minor is not None and minor["minor"]:
                return path, minor["minor"]
            path = self.interpreters.get(path) or path
        return self._newest(folder)

    def _newest(self, folder: str) -> tuple[str, str] | None:
        """Return the newest ``python3.N``, for a ``python3`` that is a file of its own, or is not there."""
        minors = [
            int(found["minor"])
            for path in self.interpreters
            if (found := _INTERPRETER.fullmatch(path)) and found["minor"] and posixpath.dirname(path) == folder
        ]
        if not minors:
            return None
        plain = f"{folder}/python3"
        return (plain if plain in self.interpreters else f"{plain}.{max(minors)}"), str(max(minors))


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
            next_step="Use an AWS Deep Learning Container by its short name (pytorch:2.8-gpu), or the builder docker.",
            field="image.base",
        )
    oci.check_layers(manifest.layers)
    seen = Seen()
    for layer in manifest.layers:
        with read(layer) as chunks:
            try:
                seen.read(chunks)
            except (tarfile.TarError, zlib.error, EOFError, OSError) as error:  # gzip's own errors are OSError
                raise _bad_layer(layer, error) from error
    found = seen.python(config.environment.get("PATH", DEFAULT_PATH), config.platform)
    if found is None:
        raise ConfigError(
            "image.no_python",
            "The base has no python3 on its PATH.",
            next_step="Name a base with Python, such as python:3.12.",
            field="image.base",
        )
    kept.mkdir(parents=True, exist_ok=True)
    form = {"version": found.version, "executable": found.executable, "libc": [found.libc, *found.libc_version]}
    write_whole(file, json.dumps(form))
    return found


def _bad_layer(layer: Descriptor, error: Exception) -> ConfigError:
    return ConfigError(
        "image.bad_layer",
        f"The layer {layer.digest} of the base cannot be unpacked: {error}.",
        next_step="Push the base anew, or name another; `clary image verify` tells which of its layers are damaged.",
        field="image.base",
    )


def _from_file(form: dict[str, Any], platform: Platform) -> Python:
    libc, major, minor = form["libc"]
    return Python(str(form["version"]), str(form["executable"]), str(libc), (int(major), int(minor)), platform)
