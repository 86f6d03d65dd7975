"""Layers from wheels, and from files of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clary.images.layers.assembling import USUAL, Folder, Part, write_layer
from clary.images.wheels.archive import DEFLATED, Entry
from clary.images.wheels.placing import Placed, check_together, place
from clary.images.wheels.problems import blamed
from clary.images.wheels.reader import Sink, WheelFile

if TYPE_CHECKING:
    from clary.images.added import AddedFile
    from clary.images.building import Layer, Wheel
    from clary.images.layers.gzipping import GzipWriter
    from clary.images.layers.venv import Venv

SPLICED = 2048
"""Compressed bytes from which a file is copied as it lies in its wheel; smaller ones are compressed together."""


@dataclass(frozen=True)
class Made:
    """A layer, and what it brings."""

    layer: Layer
    brought: Mapping[str, Mapping[str, str]]
    """By package: the digests of its files by their path in the environment, as RECORD has them."""


def wheel_layer(wheel: Wheel, venv: Venv, out: Path) -> Made:
    """Write the layer of one wheel, installed into an environment, to the file ``out``.

    The bytes depend on the wheel, the environment's place and Python's minor version, and on the compressor.
    Raises ConfigError ``image.bad_wheel``, ``image.wheels_clash``; OSError.
    """
    return _packages([wheel], venv, (), out, f"{wheel.name} {wheel.version}")


def rest_layer(wheels: Sequence[Wheel], venv: Venv, out: Path) -> Made:
    """Write the layer of the environment itself, with any number of wheels installed, to the file ``out``.

    Raises as ``wheel_layer`` does; ``image.wheels_clash`` names two wheels that bring different files for one place.
    """
    count = len(wheels)
    name = f"{count} package{'' if count == 1 else 's'}" if count else "environment"
    return _packages(sorted(wheels, key=lambda wheel: (wheel.name, wheel.filename)), venv, _skeleton(venv), out, name)


def files_layer(
    files: Sequence[AddedFile], out: Path, name: str = "code", folders: Mapping[str, Folder] = USUAL
) -> Layer:
    """Write a layer of files to the file ``out``.

    Args:
        files: as they were chosen.
        out: the layer's file.
        name: what people are told the layer is.
        folders: those that are there before, which stay as they are.

    Raises ConfigError ``image.bad_place`` for a path that images must not have, ``image.copy_clash`` for two files at
    one place, ``image.unreadable``, ``image.copy_changed`` for a file that is no longer what was chosen; OSError.
    """
    from clary.images.layers.copying import parts_of

    return write_layer(parts_of(files), out, name, folders)


def _packages(wheels: Sequence[Wheel], venv: Venv, skeleton: Sequence[Part], out: Path, name: str) -> Made:
    parts = {part.path: part for part in skeleton}
    brought: dict[str, Mapping[str, str]] = {}
    for wheel in wheels:
        assert wheel.path is not None, "a wheel is fetched before its layer is made"
        source = WheelFile(wheel.path, wheel.filename)
        with blamed(wheel.filename):
            placed = place(source.metadata, source.entries, source.python_scripts(), venv)
        brought[source.metadata.title] = {one.path: one.digest for one in placed}
        for one in placed:
            part = _part(source, one, venv)
            parts.setdefault(part.path, part)
    check_together(list(brought.items()))
    return Made(write_layer(parts.values(), out, name), brought)


def _skeleton(venv: Venv) -> list[Part]:
    top = venv.prefix.strip("/")
    links = [Part(f"{top}/{path}", target=target) for path, target in venv.links.items()]
    return [
        *links,
        Part(f"{top}/pyvenv.cfg", len(venv.settings), write=partial(_write_bytes, venv.settings)),
        Part(f"{top}/{venv.site_packages}"),
    ]


def _part(source: WheelFile, one: Placed, venv: Venv) -> Part:
    path, mode = f"{venv.prefix.strip('/')}/{one.path}", 0o755 if one.executable else 0o644
    if isinstance(one.source, bytes):
        return Part(path, one.size, mode, partial(_write_bytes, one.source))
    spliced = one.source.method == DEFLATED and one.source.packed >= SPLICED
    return Part(path, one.size, mode, partial(_splice if spliced else _recompress, source, one.source))


def _write_bytes(content: bytes, packed: GzipWriter) -> None:
    packed.write(content)


def _splice(source: WheelFile, entry: Entry, packed: GzipWriter) -> None:
    def feed(compressed: Sink, content: Sink) -> None:
        source.copy(entry, content, compressed)

    packed.splice(entry.crc, entry.size, feed)


def _recompress(source: WheelFile, entry: Entry, packed: GzipWriter) -> None:
    source.copy(entry, packed.write)
