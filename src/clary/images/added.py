"""Files of the project that go into an image: what ``copy`` names, and the code where it is baked in.

They are chosen once, when an image is prepared, and every builder takes this choice. Each has the digest that its
content had then, which is part of the image's tag: a builder that reads another content stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clary.code import snapshot
from clary.code.archive import content_digest
from clary.errors import ConfigError, NotFoundError, UsageError
from clary.images.building import CODE

if TYPE_CHECKING:
    from clary.image import Image

LARGEST = 10 * 1024**3
"""Bytes of what one entry of ``copy`` may name. Larger data belong into an input channel."""


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

    A folder is taken as a project's code is: without what is ignored or secret.

    Args:
        image: whose ``copy`` is meant.
        project: the folder that its paths are below.
        cache: where content digests of unchanged files are remembered.

    Raises NotFoundError ``image.no_such_file``, UsageError ``image.outside_project``, and what ``snapshot.take`` does.
    """
    return tuple(_one(project, source, place, cache) for source, place in sorted(image.copy.items()))


def code(project: Path, cache: Path) -> Added:
    """Return the project's code, at its place in an image. Raises what ``snapshot.take`` raises."""
    return _tree(project, CODE, cache)


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


def _one(project: Path, source: str, place: str, cache: Path) -> Added:
    path = (project / source).resolve()
    if not path.is_relative_to(project.resolve()):
        raise UsageError(
            "image.outside_project",
            f"{source} leads out of the project.",
            next_step="Copy the file into the project, or name another.",
            field="image.copy",
        )
    if path.is_dir():
        return _tree(path, place, cache)
    if not path.is_file():
        raise NotFoundError(
            "image.no_such_file",
            f"There is no {source} in {project}.",
            next_step="Correct the path in copy; it is meant from the project's folder.",
            field="image.copy",
        )
    file = AddedFile(place, path, content_digest(path), bool(path.stat().st_mode & 0o100))
    return Added(place, (file,), f"{place} {'x' if file.executable else 'f'} {file.digest}")


def _tree(folder: Path, place: str, cache: Path) -> Added:
    taken = snapshot.take(folder, cache, limit=LARGEST)
    root, digests = taken.selection.root, taken.contents
    files = tuple(
        AddedFile(str(PurePosixPath(place) / one.path), root / one.path, digests[one.path], one.executable, one.link)
        for one in taken.selection.files
    )
    return Added(place, files, f"{place} {taken.digest}", folder=True, withheld=taken.selection.withheld)
