"""A layer's file from its parts: in one order, with every folder once, and there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from clary.images import places
from clary.images.building import Layer
from clary.images.layers.gzipping import GzipWriter
from clary.images.layers.tarring import END, file_header, folder_header, link_header, padding
from clary.images.wheels.names import folders_of

_BUFFER = 1 << 20


class Folder(NamedTuple):
    """What a folder is to whoever comes to it."""

    mode: int
    user: int = 0
    group: int = 0


USUAL: Mapping[str, Folder] = {path: Folder(mode) for path, mode in places.FOLDERS.items()}
"""Folders as every Linux system has them: a layer that names them must not change them."""
_NEW = Folder(0o755)


class Part(NamedTuple):
    """A file, a link or a folder of a layer."""

    path: str
    """In the image, relative to its top."""
    size: int = 0
    mode: int = 0o644
    write: Callable[[GzipWriter], object] | None = None
    """Writes the content, of ``size`` bytes; None for what is no file."""
    target: str = ""
    """Where a link leads; empty for a folder, which is added by itself where something lies in it."""


def write_layer(parts: Iterable[Part], out: Path, name: str, folders: Mapping[str, Folder] = USUAL) -> Layer:
    """Write a layer to the file ``out`` and return it.

    The bytes depend on the parts and on ``folders`` alone: what is there before, of which the layer changes nothing.
    What a part's ``write`` raises is raised, and nothing is left behind. Raises OSError.
    """
    handle, arriving = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER) as file:
            packed = GzipWriter(file)
            _write_all(parts, packed, folders)
            packed.close()
        Path(arriving).replace(out)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(arriving).unlink()
        raise
    return Layer(packed.digest, packed.diff_id, packed.size, out, name)


def _write_all(parts: Iterable[Part], packed: GzipWriter, folders: Mapping[str, Folder]) -> None:
    listed = {part.path: part for part in parts}
    missing = [Part(path) for path in folders_of(listed) - listed.keys()]
    for part in sorted((*listed.values(), *missing), key=itemgetter(0)):  # UTF-8 has the order of its characters
        if part.write is not None:
            packed.write(file_header(part.path, part.size, part.mode))
            part.write(packed)
            packed.write(padding(part.size))
        elif part.target:
            packed.write(link_header(part.path, part.target))
        else:
            packed.write(folder_header(part.path, *folders.get(part.path, _NEW)))
    packed.write(END)
