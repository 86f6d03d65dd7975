"""Reading files that a container wrote without being led out of its folder.

A container owns ``/opt/ml`` and may put a symbolic link anywhere in it, also while it is read. Every step of a path is
therefore opened relative to the one before, and links are never followed.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """One file, folder or link below a folder; valid until the walk goes on."""

    name: str
    """Path relative to the folder, with slashes."""
    status: os.stat_result
    open: Callable[[], BinaryIO]
    """Opens a regular file for reading; raises OSError when it has gone or become something else."""
    target: str = ""
    """Where a link points; never followed here."""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)


def safe_relative(path: str) -> PurePosixPath:
    """Return a relative path from outside (an object's key, a file's name) if it stays below its folder.

    Raises ValueError for ``..``, ``.`` and NUL, which a key may hold and a file system would follow or refuse.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or any(part in (".", "..") or "\0" in part for part in parts):
        raise ValueError(f"{path!r} is not a path below a folder")
    return PurePosixPath(*parts)


@contextmanager
def _folder(root: Path, relative: str) -> Iterator[int]:
    descriptor = os.open(root, _FOLDER)
    try:
        for part in PurePosixPath(relative).parts:
            inner = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def read_beneath(root: Path, relative: str, limit: int) -> bytes | None:
    """Return the first ``limit`` bytes of a regular file below ``root``, or None when there is none."""
    path = PurePosixPath(relative)
    try:
        with _folder(root, str(path.parent)) as folder, _open(folder, path.name) as file:
            return file.read(limit)
    except OSError:
        return None


def walk_beneath(root: Path, relative: str = ".") -> Iterator[Entry]:
    """Yield everything below a folder, parents first, names in order. A folder that is not there holds nothing."""
    try:
        with _folder(root, relative) as descriptor:
            yield from _walk(descriptor, "")
    except (FileNotFoundError, NotADirectoryError):
        return


def _walk(folder: int, prefix: str) -> Iterator[Entry]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            continue  # gone since it was listed
        yield Entry(prefix + name, status, partial(_open, folder, name), target)
        if stat.S_ISDIR(status.st_mode):
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except OSError:
                continue
            try:
                yield from _walk(inner, f"{prefix}{name}/")
            finally:
                os.close(inner)


def _open(folder: int, name: str) -> BinaryIO:
    file = os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(f"{name} is not a regular file")
    return file
