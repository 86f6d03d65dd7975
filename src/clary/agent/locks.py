"""Whether the process of a local run lives: it holds a file lock, which the kernel releases however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_PATIENCE = 1.0
"""Seconds for which a lock that somebody else holds is asked for: who only looks holds it for microseconds."""
_held: dict[int, int] = {}
"""File descriptor → process that holds it."""


class RunLock:
    """The lock of one local run."""

    def __init__(self, root: str, run: str) -> None:
        """``root`` is the folder of the artifact store."""
        self._path = Path(root) / "locks" / f"{run}.lock"
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock for this process; False when a living process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _PATIENCE
        while not _lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(file)
                return False
            time.sleep(0.01)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file
        _held[file] = os.getpid()
        return True

    def release(self) -> None:
        """Give the lock back; without effect where it is not held."""
        if self._file is not None:
            _held.pop(self._file, None)
            os.ftruncate(self._file, 0)  # so that the next owner is never taken for this one
            os.close(self._file)
            self._file = None

    def held(self) -> bool:
        """Tell whether a living process holds the lock."""
        try:
            file = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _lock(file, fcntl.LOCK_SH)
        finally:
            os.close(file)

    def owner(self) -> int | None:
        """Return the process that holds the lock, None when nobody does.

        A process that has just taken it is given time to say who it is: 0, or a dead owner's number, would have the
        wrong processes signalled.
        """
        deadline = time.monotonic() + _PATIENCE
        while self.held() and time.monotonic() < deadline:
            owner = int(self._path.read_bytes() or 0)
            if owner:
                return owner
            time.sleep(0.01)
        return None


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go_after_fork() -> None:
    """A child shares its parent's open files: without this a forked worker would keep a dead run's lock."""
    for file in list(_held):
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_after_fork)
