"""Where other rooms meet the engine: results that are there already, and bodies that run in jobs of their own.

Whoever starts an attempt installs them on its execution (``run_attempt(extend=…)``); the engine asks them, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.engine.execution import Call
    from clary.journal.records import Record


@dataclass(frozen=True)
class ReadyMade:
    """A result that need not be computed."""

    output: Record
    """The encoded value, as a call's record holds it."""
    origin: Record
    """Where it comes from, for the record: ``kind`` (``cache``, ``override``, ``replay``…) and what that kind says."""


class Shortcut(Protocol):
    """Knows results of calls that the run's own record does not answer. Called from any thread."""

    def takes(self, call: Call) -> bool:
        """Tell whether there is anything to ask or to tell about this call; at once."""

    def find(self, call: Call) -> ReadyMade | None:
        """Return the result of a call, or None to go on; it may take a while. An outage is None: the call can run."""

    def keep(self, call: Call, record: Record) -> None:
        """Learn of a call that has just run here and is recorded. Never raises: the call has its result."""


class Shortcuts(list[Shortcut]):
    """The shortcuts of an execution, in the order in which they are asked."""

    def take(self, call: Call) -> bool:
        """Tell whether there is anything to ask or to tell about the call."""
        return any(shortcut.takes(call) for shortcut in self)

    def find(self, call: Call) -> ReadyMade | None:
        """Return what the first of them that knows the call's result has."""
        every = (shortcut.find(call) for shortcut in self if shortcut.takes(call))
        return next((found for found in every if found is not None), None)

    def keep(self, call: Call, record: Record) -> None:
        """Tell of a call that has just run here and is recorded."""
        for shortcut in self:
            if shortcut.takes(call):
                shortcut.keep(call, record)


class Elsewhere(Protocol):
    """Runs bodies of calls in another place than this process."""

    def takes(self, call: Call) -> bool:
        """Tell whether this call runs there."""

    def begin(self, call: Call, at: float, needed: Callable[[], bool], ready: Callable[[], object]) -> None:
        """Begin a call beside the flow, without waiting for anything.

        ``at`` is when it may run at the earliest (epoch seconds); ``needed`` is asked just before and may take a while.
        ``ready`` is called, from any thread, when ``run`` would return at once or the call is not needed.
        """

    def run(self, call: Call) -> Record:
        """Run the body there and return its encoded value.

        Raises what the body raised (as ``failure.rebuild`` gives it), or ClaryError where it could not run. Called
        again for the same call after a crash of this process: it waits for what it has begun, and begins nothing twice.
        """
