"""The sandbox's clock: real time, or time that runs faster so that a test need not wait for a day-long limit."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS = 0.05
"""How often, in real seconds, a wait looks at its condition."""


class SandboxClock:
    """Epoch seconds that pass ``speed`` times as fast as real ones. Never runs backwards, also not over a restart.

    ``not_before`` is the latest time that was handed out before (epoch seconds): a sandbox that was sped up and then
    restarted goes on from there.
    """

    def __init__(self, speed: float = 1.0, *, not_before: float = 0.0) -> None:
        self._changed = threading.Condition()
        self._real = time.monotonic()
        self._origin = max(time.time(), not_before)
        self._speed = _checked(speed)

    @property
    def speed(self) -> float:
        """Sandbox seconds in one real second."""
        return self._speed

    def now(self) -> float:
        """Return epoch seconds, in whole milliseconds as the service's own times are.

        An SDK that reads a time and sends it back in a filter thus sends the same time.
        """
        with self._changed:
            return math.ceil(self._now() * 1000) / 1000

    def _now(self) -> float:
        return self._origin + (time.monotonic() - self._real) * self._speed

    def set_speed(self, speed: float) -> None:
        """Let time pass ``speed`` times as fast from now on; running waits take it up at once."""
        speed = _checked(speed)
        with self._changed:
            self._origin, self._real = self._now(), time.monotonic()
            self._speed = speed
            self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass at once, then go on at the same speed; running waits take it up at once."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"The clock cannot be advanced by {seconds!r} seconds: it never runs backwards.")
        with self._changed:
            self._origin, self._real = self._now() + seconds, time.monotonic()
            self._changed.notify_all()

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Wait that many sandbox seconds, or until the condition holds; return whether it held."""
        deadline = self.now() + seconds
        while True:
            if until is not None and until():
                return True
            with self._changed:
                left = (deadline - self._now()) / self._speed
                if left <= 0:
                    break
                self._changed.wait(left if until is None else min(left, _POLL_SECONDS))
        return until() if until is not None else False


def _checked(speed: float) -> float:
    if not 0 < speed <= 1_000_000:
        raise ValueError(f"The clock's speed must be above 0 and at most 1000000, not {speed!r}.")
    return float(speed)
