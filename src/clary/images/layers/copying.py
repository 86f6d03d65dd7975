"""Files of a project as parts of a layer: their places, links and modes."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clary.errors import ConfigError
from clary.images.layers.assembling import Part
from clary.images.wheels.names import check_name, folders_of
from clary.images.wheels.problems import Problem

if TYPE_CHECKING:
    from clary.images.layers.gzipping import GzipWriter

Source: TypeAlias = tuple[str, Path | bytes, int]
"""An absolute path in the image, a file or its content, and a mode."""
_CHUNK = 1 << 20
_LINKED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock")
"""Folders that are links in most images: a layer with such a folder would put an empty one in the link's place."""
_MOUNTED = ("opt/ml", "proc", "sys", "dev")
"""Folders that are mounted over when a container starts: what lies in the image is not seen."""
_FIELD = "image.copy"


def parts_of(files: Sequence[Source]) -> list[Part]:
    """Return the parts of a layer of these files; raises as ``making.files_layer`` does."""
    places = [(_place(path), source, mode) for path, source, mode in files]
    _check_apart([place for place, _, _ in places])
    tree = _Tree((place, source) for place, source, _ in places if isinstance(source, Path))
    return [_part(place, source, mode, tree) for place, source, mode in places]


def _place(path: str) -> str:
    try:
        if not path.startswith("/"):
            raise Problem("it is not absolute")
        path.encode()
        check_name(path[1:])
        _check_folder(path[1:])
    except (Problem, UnicodeEncodeError) as problem:
        reason = problem.text if isinstance(problem, Problem) else "it is not UTF-8"
        raise ConfigError(
            "image.bad_place",
            f"Nothing can be put at {path!a} in an image: {reason}.",
            next_step="Name a plain absolute path, for example /opt/app or /usr/local/bin/tool.",
            field=_FIELD,
        ) from None
    return path[1:]


def _check_folder(place: str) -> None:
    for folder in _LINKED:
        if place == folder or place.startswith(f"{folder}/"):
            raise Problem(
                f"/{folder} is a link in most images; name the folder that it leads to, such as /usr/{folder}"
            )
    for folder in _MOUNTED:
        if place == folder or place.startswith(f"{folder}/"):
            raise Problem(f"/{folder} is mounted over when the container starts")


def _check_apart(places: Sequence[str]) -> None:
    known: set[str] = set()
    for place in places:
        if place in known:
            raise _clash(place, "two files go there")
        known.add(place)
    for place in sorted(known & folders_of(known)):
        raise _clash(place, "it is a file, and another one needs it as a folder")


class _Tree:
    """Where files, and folders that are copied as they are, go in the image."""

    def __init__(self, files: Iterable[tuple[str, Path]]) -> None:
        self._places: dict[str, str] = {}
        for place, source in files:
            here = os.path.abspath(source)  # noqa: PTH100 - a link is meant itself
            while self._places.setdefault(here, place) == place and _last(place) == _last(here) != "":
                here, place = posixpath.dirname(here), posixpath.dirname(place)

    def target(self, place: str, link: Path) -> str:
        """Return where a link leads, relative to its own place in the image."""
        here = os.path.abspath(link)  # noqa: PTH100 - a link is meant itself
        lexical = posixpath.normpath(posixpath.join(posixpath.dirname(here), link.readlink()))
        there = _mapped(lexical, self._places)
        if there is None or _mapped(os.path.realpath(link), self._real) is None:
            raise ConfigError(
                "image.link_outside",
                f"{link} is a symbolic link to {lexical}, which is not copied to the image with it.",
                next_step="Put a copy in its place, or leave the link out.",
                field=_FIELD,
            )
        return posixpath.relpath(there, posixpath.dirname(place))

    @cached_property
    def _real(self) -> dict[str, str]:
        """The same by the paths that lead through no link; what is itself a link stays one."""
        return {
            posixpath.join(os.path.realpath(posixpath.dirname(path)), _last(path)): place
            for path, place in self._places.items()
        }


def _part(place: str, source: Path | bytes, mode: int, tree: _Tree) -> Part:
    right = 0o755 if mode & 0o111 else 0o644
    if isinstance(source, bytes):
        return Part(place, len(source), right, partial(_write_bytes, source))
    try:
        found = source.lstat()
        if stat.S_ISLNK(found.st_mode):
            return Part(place, target=tree.target(place, source))
        if not stat.S_ISREG(found.st_mode) or not os.access(source, os.R_OK):
            raise _unreadable(source, "it is no file that can be read")
    except OSError as error:
        raise _unreadable(source, str(error.strerror)) from None
    return Part(place, found.st_size, right, partial(_write_file, source, found.st_size))


def _mapped(path: str, places: Mapping[str, str]) -> str | None:
    """Return where a path is in the image, if it or a folder above it is copied."""
    rest = ""
    while path not in places:
        path, _, last = path.rpartition("/")
        if not path:
            return None
        rest = posixpath.join(last, rest) if rest else last
    return posixpath.join(places[path], rest) if rest else places[path]


def _last(path: str) -> str:
    return posixpath.basename(path)


def _write_bytes(content: bytes, packed: GzipWriter) -> None:
    packed.write(content)


def _write_file(source: Path, size: int, packed: GzipWriter) -> None:
    left = size
    try:
        with source.open("rb") as file:
            while data := file.read(min(_CHUNK, left + 1)):
                left -= len(data)
                if left < 0:
                    break
                packed.write(data)
    except OSError as error:
        raise _unreadable(source, str(error.strerror)) from None
    if left:
        raise ConfigError(
            "image.copy_changed",
            f"{source} changed while the image was built.",
            next_step="Build again when nothing writes to it.",
            field=_FIELD,
        )


def _unreadable(source: Path, reason: str) -> ConfigError:
    return ConfigError(
        "image.unreadable",
        f"{source} cannot be put in the image: {reason}.",
        next_step="Mend its path or rights, or leave it out of the image.",
        field=_FIELD,
    )


def _clash(place: str, reason: str) -> ConfigError:
    return ConfigError(
        "image.copy_clash",
        f"Files for the image clash at /{place}: {reason}.",
        next_step="Choose another place for one of them.",
        field=_FIELD,
    )
