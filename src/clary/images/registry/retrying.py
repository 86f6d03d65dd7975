"""How long to go on when a registry, or the way to it, fails for a moment."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from clary.errors import ClaryError, Retry

RETRY_AFTER = "retry_after"
"""The detail of an error that says how many seconds the registry asks to be left alone."""
UNREACHABLE = ("registry.unreachable", "registry.unknown_host")


class Abandoned(Exception):  # noqa: N818 - nothing went wrong with it
    """What another thread's failure has made pointless is given up. It never leaves this package."""


@dataclass(frozen=True)
class Patience:
    """How often, and with what pauses, a step is tried."""

    tries: int = 6
    """Of a step, when the registry fails for a moment."""
    unreached: int = 3
    """Of a step where nothing has answered yet: a person should hear of it soon."""
    first: float = 0.25
    """Seconds of the first pause at most. The next is twice as long, and each is cut short by chance (full jitter)."""
    longest: float = 10.0
    """Seconds of any pause at most, unless the registry asks for more."""
    most: float = 120.0
    """Seconds that a registry may ask for (Retry-After) and be waited for."""


class Tries:
    """Counts what goes wrong with one step, and waits."""

    def __init__(self, patience: Patience, *, stop: threading.Event | None = None, reached: bool = False) -> None:
        """``stop`` ends every wait with ``Abandoned``; ``reached`` says that the registry has answered before."""
        self._patience = patience
        self._stop = stop or threading.Event()
        self._reached = reached
        self._met = 0

    def met(self, error: ClaryError) -> None:
        """Wait until the step may be tried again; raise ``error`` where that is no use, or has been often enough."""
        self._met += 1
        known = self._reached or error.code not in UNREACHABLE
        tries = self._patience.tries if known else self._patience.unreached
        asked = float(error.details.get(RETRY_AFTER) or 0)
        if error.retry is not Retry.LATER or self._met >= tries or asked > self._patience.most:
            raise error
        ceiling = min(self._patience.longest, self._patience.first * 2 ** (self._met - 1))
        if self._stop.wait(asked + random.uniform(0, ceiling)):
            raise Abandoned

    def progressed(self) -> None:
        """Begin to count anew: the step has come further than before."""
        self._met = 0

    def check(self) -> None:
        """Raise ``Abandoned`` when all has been told to stop."""
        if self._stop.is_set():
            raise Abandoned
