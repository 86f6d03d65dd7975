"""Isolated calls on a stack of this machine: here, one thread each, by the same rules as in jobs of their own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from clary.artifacts import encode
from clary.engine.progress import attach, board_of
from clary.engine.scope import Scope
from clary.runtime.isolated.body import Inside, LocalEnder, arguments_of
from clary.runtime.isolated.calls import isolation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.engine.execution import Call, Execution
    from clary.flows.checkpoint import Checkpoint
    from clary.journal.records import Record
    from clary.journal.writer import Journal


class LocalCalls:
    """Runs isolated calls in this process (``clary.engine.extensions.Elsewhere``)."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._lock = threading.Lock()
        self._room: dict[str, threading.Semaphore] = {}

    def takes(self, call: Call) -> bool:
        """Tell whether the call's checkpoint is isolated."""
        return isolation_of(call) is not None

    def begin(self, _call: Call, _at: float, _needed: Callable[[], bool], ready: Callable[[], object]) -> None:
        """Let one of the attempt's threads run it: there is no other place."""
        ready()

    def run(self, call: Call) -> Record:
        """Run the body here and return its encoded value; raises what it raised."""
        with self._room_for(call):
            return self._run(call)

    def _run(self, call: Call) -> Record:
        execution = self._execution
        journal = execution.journal
        inside = Inside(execution.run_id, journal.attempt, execution.store, state=journal.state)
        if (board := board_of(journal)) is not None:
            attach(cast("Journal", inside), board)
        task = {"arguments": {name: encode(value, execution.store) for name, value in call.bound.items()}}
        checkpoint = cast("Checkpoint[..., Any]", call.callee)  # what ``takes`` has seen has the options of one
        given = arguments_of(checkpoint, task, execution.store)  # by value, as in a job: no change gets out
        scope = Scope(cast("Execution", inside), call.path, in_call=True)
        try:
            value = LocalEnder(lambda: execution.ended).run(scope, checkpoint, given)
        finally:
            if inside.collected and execution.ended is None:
                execution.write(*inside.collected)
        return encode(value, execution.store)

    def _room_for(self, call: Call) -> threading.Semaphore:
        isolation = isolation_of(call)
        assert isolation is not None
        with self._lock:
            return self._room.setdefault(call.callee.name, threading.Semaphore(isolation.limit))
