"""How far a run is: told by its code, kept in memory, and published by a thread, once a second at most.

Nothing of it is in the record: a crash loses it, and a replay tells it anew.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from clary.artifacts import progress_to
from clary.errors import ClaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.journal.records import Record
    from clary.journal.writer import Journal

PAUSE = 1.0
"""Seconds between two publications, at least."""
SHOWN = 20
"""Calls whose progress is kept; of more, those that told of it last."""
VALUES = "values"
"""In place of a call's path, for what is stored and read."""
_boards: WeakKeyDictionary[Journal, Board] = WeakKeyDictionary()


class Board:
    """What the calls of one attempt have told last. Safe from any thread."""

    def __init__(self, publish: Callable[[dict[str, Record]], None], pause: float = PAUSE) -> None:
        self._publish = publish
        self._pause = pause
        self._lines: dict[str, Record] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, path: str, done: float, total: float | None, message: str) -> None:
        """Take in how far a call is. Costs microseconds; the thread that publishes is made at the first need."""
        with self._lock:
            self._lines.pop(path, None)
            self._lines[path] = {"done": done, "total": total, "message": message, "at": time.time()}
            if len(self._lines) > SHOWN:
                del self._lines[next(iter(self._lines))]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="clary-progress", daemon=True)
                self._thread.start()
        self._news.set()

    def lines(self) -> dict[str, Record]:
        """Return what was told last, by path of the call."""
        with self._lock:
            return dict(self._lines)

    def close(self) -> None:
        """End; does not wait for a publication under way."""
        self._over.set()
        self._news.set()

    def _work(self) -> None:
        while True:
            self._news.wait()
            if self._over.is_set():
                return
            self._news.clear()
            try:
                self._publish(self.lines())
            except ClaryError:
                pass  # an outage: the next one will do
            self._over.wait(self._pause)


def attach(journal: Journal, board: Board) -> None:
    """Let the calls of an attempt, known by its journal, tell that board."""
    _boards[journal] = board


def board_of(journal: Journal) -> Board | None:
    """Return the board of an attempt; None where nobody looks."""
    return _boards.get(journal)


@contextmanager
def of_values(journal: Journal) -> Iterator[None]:
    """Tell whoever looks at an attempt how far large values are that are stored or read in this context."""
    board = board_of(journal)
    if board is None:
        yield
        return
    with progress_to(lambda what, done, size: board.tell(VALUES, done >> 20, size >> 20, f"MiB {what}")):
        yield
