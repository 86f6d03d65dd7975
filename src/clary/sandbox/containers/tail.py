"""Following a growing file: the container's output, which outlives the sandbox's process."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from pathlib import Path

_IN_MODIFY = 0x2
_CHUNK = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Tail:
    """Hands on what is appended to a file, from where an earlier reader of the same file left off."""

    def __init__(self, path: Path, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self._done = path.with_name(f"{path.name}.delivered")
        self._file = path.open("rb")
        self._file.seek(int(self._done.read_text() or 0) if self._done.exists() else 0)
        self._watch = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._watch >= 0:
            _libc.inotify_add_watch(self._watch, os.fsencode(path), _IN_MODIFY)
        self._ended, self._end = os.pipe()

    def run(self) -> None:
        """Deliver until ``end`` was called and nothing is left; then deliver b"" once."""
        readable = [self._ended] if self._watch < 0 else [self._ended, self._watch]
        # Without inotify (its instances are limited per user) the file is looked at twenty times a second.
        patience = 0.05 if self._watch < 0 else None
        over = False
        while not over:
            over = self._ended in select.select(readable, [], [], patience)[0]
            if self._watch >= 0:
                self._drain()
            self._hand_on()
        self._deliver(b"")
        self._file.close()
        for descriptor in (self._watch, self._ended, self._end):
            if descriptor >= 0:
                os.close(descriptor)

    def end(self) -> None:
        """Say that nothing more will be written."""
        os.write(self._end, b"1")

    def _drain(self) -> None:
        try:
            os.read(self._watch, _CHUNK)
        except BlockingIOError:
            return

    def _hand_on(self) -> None:
        while data := self._file.read(_CHUNK):
            self._deliver(data)
            self._done.write_text(str(self._file.tell()))
