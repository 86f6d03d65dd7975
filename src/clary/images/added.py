"""Files of the project that go into an image: what ``copy`` names, and the code where it is baked in.

They are chosen once, when an image is prepared, and every builder takes this choice. Each has the digest that its
content had then, which is part of the image's tag: a builder that reads another content stops.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clary.code import snapshot
from clary.code.archive import content_digest, tree_digest
from clary.code.select import is_private
from clary.errors import ConfigError, NotFoundError, UsageError
from clary.images import places
from clary.images.building import CODE
from clary.images.wheels.names import folders_of

if TYPE_CHECKING:
    from clary.code.archive import Row
    from clary.image import Image

LARGEST = 10 * 1024**3
"""Bytes of what one entry of ``copy`` may name. Larger data belong into an input channel."""
_FORM = 2
"""Grows when the same files are to give another layer: it is part of the digest of what is copied."""


@dataclass(frozen=True)
class AddedFile:
    """One file, or a link inside of what is added."""

    path: str
    """Its absolute place in the image."""
    source: Path
    digest: str
    """SHA-256 of its content, in hex; of a link, of where it leads."""
    executable: bool = False
    link: str | None = None
    """Where a link leads, from its own folder; None for a file."""


@dataclass(frozen=True)
class Added:
    """What an image gets at one place: a file, or all of a folder that travels."""

    place: str
    """Absolute."""
    files: tuple[AddedFile, ...]
    digest: str
    """Of place, paths and contents."""
    folder: bool = False
    withheld: tuple[str, ...] = ()
    """Left out, for they hold secrets by their names."""


def copies(image: Image, project: Path, cache: Path) -> tuple[Added, ...]:
    """Return what ``copy`` names, in the order of its paths.

    A folder is taken as a project's code is: without what is ignored or secret. A file whose place ends in ``/`` goes
    into that folder under its own name.

    Args:
        image: whose ``copy`` is meant.
        project: the folder that its paths are below.
        cache: where content digests of unchanged files are remembered.

    Raises NotFoundError ``image.no_such_file``, UsageError ``image.outside_project``, ConfigError ``image.bad_place``,
    ``image.copy_clash``, and what ``snapshot.take`` does.
    """
    found = tuple(_one(project.resolve(), source, place, cache) for source, place in sorted(image.copy.items()))
    files = [file.path for one in found for file in one.files]
    for place in files:
        places.check_file(place)
    check_apart(files)
    return found


def code(project: Path, cache: Path) -> Added:
    """Return the project's code, at its place in an image. Raises what ``snapshot.take`` raises."""
    taken = snapshot.take(project, cache, limit=LARGEST)
    root, digests = taken.selection.root, taken.contents
    files = tuple(
        AddedFile(f"{CODE}/{one.path}", root / one.path, digests[one.path], one.executable, one.link)
        for one in taken.selection.files
    )
    return Added(CODE, files, f"{CODE} {taken.digest}", folder=True, withheld=taken.selection.withheld)


def digest_of(added: Iterable[Added]) -> str:
    """Return the digest of all that is added, in hex."""
    return hashlib.sha256("\n".join(one.digest for one in added).encode()).hexdigest()


def changed(path: Path | str) -> ConfigError:
    """Return the error for a file that is no longer what was chosen."""
    return ConfigError(
        "image.copy_changed",
        f"{path} changed while the image was built.",
        next_step="Build again when nothing writes to it.",
        field="image.copy",
    )


def check_apart(paths: Sequence[str]) -> None:
    """Raise ConfigError ``image.copy_clash`` for two files at one place, and for one where another needs a folder."""
    known: set[str] = set()
    for path in paths:
        if path in known:
            raise clash(path, "two files go there")
        known.add(path)
    for path in sorted(known & folders_of(known)):
        raise clash(path, "it is a file, and another one needs it as a folder")


def clash(place: str, reason: str) -> ConfigError:
    """Return the error for files that cannot both be where they are meant to be."""
    return ConfigError(
        "image.copy_clash",
        f"Files for the image clash at {place}: {reason}.",
        next_step="Choose another place for one of them.",
        field="image.copy",
    )


def _one(project: Path, source: str, place: str, cache: Path) -> Added:
    path = (project / source).resolve()
    if not path.is_relative_to(project):
        raise _outside(source)
    if path.is_dir():
        return _folder(project, path, place.rstrip("/"), cache)
    if not path.is_file():
        raise NotFoundError(
            "image.no_such_file",
            f"There is no {source} in {project}.",
            next_step="Correct the path in copy; it is meant from the project's folder.",
            field="image.copy",
        )
    if place.endswith("/"):
        place += PurePosixPath(source).name
    file = AddedFile(place, path, content_digest(path), bool(path.stat().st_mode & 0o100))
    return Added(place, (file,), f"{_FORM} {place} {_kind(file)} {file.digest}")


def _folder(project: Path, folder: Path, place: str, cache: Path) -> Added:
    """Return a folder of the project. A link out of it to a file of the project is that file: the link would dangle."""
    below = "" if folder == project else folder.relative_to(project).as_posix()
    taken = snapshot.take(project, cache, limit=LARGEST, below=below)
    withheld = list(taken.selection.withheld)
    files: list[AddedFile] = []
    rows: list[Row] = []
    for one in taken.selection.files:
        inside = PurePosixPath(one.path).relative_to(below).as_posix()
        file = AddedFile(
            f"{place}/{inside}", project / one.path, taken.contents[one.path], executable=one.executable, link=one.link
        )
        if one.link is not None and not _stays(folder, file.source, one.link):
            led = _led(project, file)
            if led is None:
                withheld.append(one.path)
                continue
            file = led
        files.append(file)
        rows.append((inside, _kind(file), file.digest))
    return Added(place, tuple(files), f"{_FORM} {place} {tree_digest(rows)}", folder=True, withheld=tuple(withheld))


def _stays(folder: Path, link: Path, target: str) -> bool:
    """Tell whether a link leads to something in the folder that is copied, by its text and in the end."""
    lexical = Path(os.path.normpath(link.parent / target))
    return lexical.is_relative_to(folder) and link.resolve().is_relative_to(folder)


def _led(project: Path, file: AddedFile) -> AddedFile | None:
    """Return the file that a link leads to, in the link's place; None for one that holds secrets by its name.

    Raises UsageError ``image.outside_project`` where it leads to no file.
    """
    path = file.source.resolve()
    if not path.is_file():
        raise _outside(file.source.relative_to(project).as_posix())
    if is_private(path.relative_to(project).as_posix(), folder=False):
        return None
    return AddedFile(file.path, path, content_digest(path), bool(path.stat().st_mode & 0o100))


def _outside(source: str) -> UsageError:
    return UsageError(
        "image.outside_project",
        f"{source} leads out of what is copied, and not to a file of the project.",
        next_step="Copy what it leads to into the project, or name that in copy, too.",
        field="image.copy",
    )


def _kind(file: AddedFile) -> str:
    return "l" if file.link is not None else "x" if file.executable else "f"
