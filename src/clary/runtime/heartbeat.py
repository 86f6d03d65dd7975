"""Once a minute, and when the flow tells how far it is: progress for whoever watches; and a look at what others wrote
into the log (a stop request).

The heartbeat proves nothing about life and never starts an attempt; its age serves warnings only.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from typing import TYPE_CHECKING

from clary.engine.progress import Board, attach
from clary.errors import ClaryError, Interruption

if TYPE_CHECKING:
    from clary.journal.writer import Journal
    from clary.objects import ObjectStore

INTERVAL = 60.0
"""Seconds between heartbeats (DESIGN §4)."""


class Heartbeat:
    """A thread beside the flow."""

    def __init__(self, journal: Journal, store: ObjectStore, interval: float = INTERVAL) -> None:
        self._journal = journal
        self._store = store
        self._board = Board(lambda _: self._write())
        attach(journal, self._board)
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="clary-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait for a request under way."""
        self._over.set()
        self._board.close()

    def _beat(self) -> None:
        while not self._over.wait(self._interval):
            try:
                self._journal.absorb()
                self._write()
            except ClaryError:
                continue  # an outage: the next one will do
            except Interruption:
                break  # fenced: the main thread finds out at its next write, or is told now
            if self._journal.state.stop_requested:
                break
        if not self._over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def _write(self) -> None:
        state = self._journal.state
        beat = {
            "attempt": self._journal.attempt,
            "at": time.time(),
            "calls": len(state.calls),
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "progress": self._board.lines(),
        }
        self._store.put(f"runs/{state.run}/heartbeat.json", json.dumps(beat).encode())
