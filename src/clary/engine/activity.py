"""What an attempt is busy with and what it waits for: it is suspended once all that is left is waiting."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clary.errors import Suspended

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

_TURNS = 20
"""Turns of an event loop in which nothing may begin before it counts as quiet: a task whose call has just ended needs a
few to come to its next one."""
_LOOK_SECONDS = 1.0
"""Between looks whether a loop still runs."""


class Activity:
    """One attempt's. Safe from any thread."""

    def __init__(self) -> None:
        self._busy: dict[object, AbstractEventLoop | None] = {}
        """What is under way beside submitted calls, with the event loop that it is a task of."""
        self._waits: dict[str, float | None] = {}
        """Paths that are waited for, with the moment (epoch seconds) at which each ends in any case."""
        self.failing: AbstractEventLoop | None = None
        """The loop of the flow's body once that has failed: only what it has begun is seen to its end."""

    @contextmanager
    def of(self, what: object, loop: AbstractEventLoop | None = None) -> Iterator[None]:
        """Be busy with something for as long as the context lasts, or until ``over``."""
        self._busy[what] = loop
        try:
            yield
        finally:
            self.over(what)

    def over(self, what: object) -> None:
        """Be no longer busy with something."""
        self._busy.pop(what, None)

    @contextmanager
    def waiting(self, path: str, until: float | None) -> Iterator[None]:
        """Wait for something."""
        self._waits[path] = until
        try:
            yield
        finally:
            self._waits.pop(path, None)

    def __bool__(self) -> bool:
        return bool(self._busy)

    def in_loop(self, loop: AbstractEventLoop) -> bool:
        """Tell whether a call is under way as a task of that loop."""
        return loop in list(self._busy.values())

    def suspension(self) -> Suspended:
        """Return the end of an attempt that only waits: for any of what it waits for."""
        waits = dict(self._waits)
        moments = [moment for moment in waits.values() if moment is not None]
        return Suspended(list(waits), min(moments, default=None))


def is_quiet(loop: AbstractEventLoop, busy: Callable[[], bool]) -> bool:
    """Tell whether nothing begins in a loop of its own accord; asked from another thread.

    Plain callbacks look, and no task does: a task would take a number among the flow's.
    """
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def look(turns: int) -> None:
        is_busy = busy()
        if is_busy or turns == 0:
            told.put(not is_busy)
        else:
            loop.call_soon(look, turns - 1)

    try:
        loop.call_soon_threadsafe(look, _TURNS)
    except RuntimeError:  # it has ended
        return True
    while True:
        try:
            return told.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            if not loop.is_running():
                return True
