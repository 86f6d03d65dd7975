"""Files of a project as parts of a layer: their places and modes, and that they are still what was chosen."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images import places
from clary.images.added import changed, check_apart
from clary.images.layers.assembling import Part

if TYPE_CHECKING:
    from clary.images.added import AddedFile
    from clary.images.layers.gzipping import GzipWriter

_CHUNK = 1 << 20
_FIELD = "image.copy"


def parts_of(files: Sequence[AddedFile]) -> list[Part]:
    """Return the parts of a layer of these files; raises as ``making.files_layer`` does."""
    for file in files:
        if told := places.problem(file.path):
            raise places.refused(file.path, told)
    check_apart([file.path for file in files])
    return [_part(file.path[1:], file) for file in files]


def _part(place: str, file: AddedFile) -> Part:
    if file.link is not None:
        return Part(place, target=file.link)
    try:
        found = file.source.lstat()
        if not stat.S_ISREG(found.st_mode) or not os.access(file.source, os.R_OK):
            raise _unreadable(file.source, "it is no file that can be read")
    except OSError as error:
        raise _unreadable(file.source, str(error.strerror)) from None
    mode = 0o755 if file.executable else 0o644
    return Part(place, found.st_size, mode, partial(_write, file, found.st_size))


def _write(file: AddedFile, size: int, packed: GzipWriter) -> None:
    left, content = size, hashlib.sha256()
    try:
        with file.source.open("rb") as opened:
            while data := opened.read(min(_CHUNK, left + 1)):
                left -= len(data)
                if left < 0:
                    break
                content.update(data)
                packed.write(data)
    except OSError as error:
        raise _unreadable(file.source, str(error.strerror)) from None
    if left or content.hexdigest() != file.digest:
        raise changed(file.source)


def _unreadable(source: Path, reason: str) -> ConfigError:
    return ConfigError(
        "image.unreadable",
        f"{source} cannot be put in the image: {reason}.",
        next_step="Mend its path or rights, or leave it out of the image.",
        field=_FIELD,
    )
