"""Following a growing file: the container's output, which outlives the sandbox's process.

It is always read from the start: after a restart the sink skips what it has kept (``model.LogSink``), so nothing that
was on its way when the sandbox was killed is lost or doubled.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_IN_MODIFY = 0x2
_CHUNK = 64 * 1024
_ENDED, _LEFT = b"e", b"l"
_libc = ctypes.CDLL(None, use_errno=True)


class Tail:
    """Hands on what a file holds and what is appended to it."""

    def __init__(self, path: Path, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self._file = path.open("rb")
        self._watch = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._watch >= 0:
            _libc.inotify_add_watch(self._watch, os.fsencode(path), _IN_MODIFY)
        self._ended, self._end = os.pipe()
        self._lock = threading.Lock()
        self._told = False

    def run(self) -> None:
        """Deliver until ``end`` was called and nothing is left; then deliver b"" once."""
        readable = [self._ended] if self._watch < 0 else [self._ended, self._watch]
        # Without inotify (its instances are limited per user) the file is looked at twenty times a second.
        patience = 0.05 if self._watch < 0 else None
        over = b""
        while not over:
            if self._ended in select.select(readable, [], [], patience)[0]:
                over = os.read(self._ended, 1)
            if self._watch >= 0:
                self._drain()
            if over != _LEFT:
                self._hand_on()
        if over == _ENDED:
            self._deliver(b"")
        self._file.close()
        for descriptor in (self._watch, self._ended, self._end):
            if descriptor >= 0:
                os.close(descriptor)

    def end(self) -> None:
        """Say that nothing more will be written."""
        self._tell(_ENDED)

    def leave(self) -> None:
        """Stop delivering, without an end."""
        self._tell(_LEFT)

    def _tell(self, what: bytes) -> None:
        with self._lock:
            if not self._told:
                self._told = True
                os.write(self._end, what)

    def _drain(self) -> None:
        try:
            os.read(self._watch, _CHUNK)
        except BlockingIOError:
            return

    def _hand_on(self) -> None:
        while data := self._file.read(_CHUNK):
            self._deliver(data)
