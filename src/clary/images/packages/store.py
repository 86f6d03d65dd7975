"""Where wheels lie on this machine: ``<store>/<sha256>/<file name>``, whole or not there, shared by processes."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images.packages import uv_failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.images.building import Wheel

CHUNK = 1 << 18
"""Bytes that are read, written and counted at once: what a broken reply can lose."""
PARTIAL = ".arriving"
"""A download that is under way, or was when its process ended; the next one goes on with it."""


def wheel_store(cache: Path) -> Path:
    """Return the wheel store of Clary's cache for images."""
    return cache / "wheels"


def place(store: Path, sha256: str, filename: str) -> Path:
    """Return where a wheel lies, or would.

    Locks and indexes are written by others: what would lie outside the store raises ConfigError ``image.bad_lock``.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not re.fullmatch(r"\w[\w.+!-]*", filename):
        raise ConfigError(
            "image.bad_lock",
            f"A lock or an index names a file that is none: {filename!r} with the sha256 {sha256!r}.",
            next_step="Make the lock anew, and look at where this file comes from.",
            field="image.requirements",
        )
    return store / sha256 / filename


def kept(store: Path, wheel: Wheel) -> Path | None:
    """Return where a wheel lies, if it does. What lies there was verified before it got its name."""
    path = place(store, wheel.sha256, wheel.filename)
    try:
        size = path.stat().st_size
    except OSError:
        return None
    return path if wheel.size in (0, size) else None


def take_in(store: Path, file: Path) -> tuple[str, int, Path]:
    """Copy a wheel into the store; return its sha256, its size in bytes and its place. Raises OSError."""
    sha256, size = digest(file), file.stat().st_size
    path = place(store, sha256, file.name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(path.parent), disk_errors():
            arriving = path.parent / PARTIAL
            shutil.copyfile(file, arriving)
            arriving.replace(path)
    return sha256, size, path


def digest(file: Path) -> str:
    """Return the sha256 of a file. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one, of all threads and processes, that writes into a folder of the store."""
    import fcntl

    with (folder / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def disk_errors(what: str = "Clary's caches", variable: str = "CLARY_HOME") -> Iterator[None]:
    """Raise ConfigError ``image.disk_full`` for a full disk or quota; ``variable`` names another place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise uv_failures.disk_full(what, variable) from None
        raise
