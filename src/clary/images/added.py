"""Files of the project that go into an image: what ``copy`` names, and the code where it is baked in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clary.code import snapshot
from clary.code.archive import content_digest
from clary.errors import NotFoundError, UsageError
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
    executable: bool = False
    link: str | None = None
    """Where a link leads, from its own folder; None for a file."""


@dataclass(frozen=True)
class Added:
    """Files that an image gets, and what they amount to."""

    files: tuple[AddedFile, ...] = ()
    digest: str = ""
    """Of paths and contents; empty for none."""
    withheld: tuple[str, ...] = field(default=())
    """Left out, for they hold secrets by their names."""


def copied(image: Image, project: Path, cache: Path) -> Added:
    """Return what ``copy`` names. A folder is taken as a project's code is: without what is ignored or secret.

    Args:
        image: whose ``copy`` is meant.
        project: the folder that its paths are below.
        cache: where content digests of unchanged files are remembered.

    Raises NotFoundError ``image.no_such_file``, UsageError ``image.outside_project``, and what ``snapshot.take`` does.
    """
    parts = [_one(project, source, target, cache) for source, target in sorted(image.copy.items())]
    return _joined(parts)


def code(project: Path, cache: Path) -> Added:
    """Return the project's code, at its place in an image. Raises what ``snapshot.take`` raises."""
    return _tree(project, CODE, cache)


def _one(project: Path, source: str, target: str, cache: Path) -> Added:
    path = (project / source).resolve()
    if not path.is_relative_to(project.resolve()):
        raise UsageError(
            "image.outside_project",
            f"{source} leads out of the project.",
            next_step="Copy the file into the project, or name another.",
            field="image.copy",
        )
    if path.is_dir():
        return _tree(path, target, cache)
    if not path.is_file():
        raise NotFoundError(
            "image.no_such_file",
            f"There is no {source} in {project}.",
            next_step="Correct the path in copy; it is meant from the project's folder.",
            field="image.copy",
        )
    executable = bool(path.stat().st_mode & 0o100)
    digest = f"{target} {'x' if executable else 'f'} {content_digest(path)}"
    return Added((AddedFile(target, path, executable),), digest)


def _tree(folder: Path, target: str, cache: Path) -> Added:
    taken = snapshot.take(folder, cache, limit=LARGEST)
    files = tuple(
        AddedFile(str(PurePosixPath(target) / file.path), taken.selection.root / file.path, file.executable, file.link)
        for file in taken.selection.files
    )
    return Added(files, f"{target} {taken.digest}" if files else "", taken.selection.withheld)


def _joined(parts: list[Added]) -> Added:
    digests = "\n".join(part.digest for part in parts if part.digest)
    files = tuple(file for part in parts for file in part.files)
    withheld = tuple(path for part in parts for path in part.withheld)
    return Added(files, hashlib.sha256(digests.encode()).hexdigest() if digests else "", withheld)
