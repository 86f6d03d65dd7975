"""Running the body of an isolated call, and telling what came of it. The same in a job, in its workers, and locally."""

from __future__ import annotations

import contextvars
import inspect
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast

from clary.artifacts import decode, encode
from clary.engine import failure
from clary.engine.scope import Scope, current_scope
from clary.errors import Interruption, UsageError
from clary.journal import records
from clary.journal.log import ObjectLog
from clary.journal.state import RunState, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.engine.execution import Execution
    from clary.flows.checkpoint import Checkpoint
    from clary.journal.records import Record
    from clary.objects import ObjectStore

_GRACE = 5.0
"""Seconds that a body has after its time is over to end by itself, before its process is ended."""


class Inside:
    """What stands for the attempt in the body of an isolated call: it collects what the body tells the run.

    The log has one writer, the flow's process; what is collected travels with the result and is recorded there.
    """

    def __init__(self, run: str, attempt: int, store: ObjectStore, *, state: RunState | None = None) -> None:
        self.run_id = run
        self.attempt = attempt
        self.store = store
        self.journal = self
        self.values: dict[str, Any] = {}
        self.open_calls: frozenset[object] = frozenset()
        self.collected: list[Record] = []
        self._state = state
        self._lock = threading.Lock()

    @property
    def state(self) -> RunState:
        """The run's state, read when something of it is asked for (``load()``)."""
        with self._lock:
            if self._state is None:
                self._state = fold(ObjectLog(self.store, self.run_id).read())
            return self._state

    def write(self, *ready: Record) -> None:
        """Keep records for the flow's process."""
        with self._lock:
            self.collected += ready

    def recorded_value(self, kind: str, scope: Scope, make: Callable[[], Any]) -> Any:
        """Return a reading of clock or chance; the body runs as a whole or not at all, so none is ever replayed."""
        path, value = scope.next_path(kind), make()
        self.write({"kind": records.VALUE, "path": path, "value": value})
        return value

    def make(self, callee: Any, path: str, *_: Any) -> NoReturn:
        """Refuse a checkpoint in the body of an isolated one."""
        raise UsageError(
            "call.in_isolated",
            f"The checkpoint {callee.name} was called in the isolated checkpoint {path.rpartition('/')[0]}, which runs "
            "in a job of its own: only the flow's process writes the record.",
            next_step=f"Call {callee.name} in the flow and pass on what it returns, or call the plain function: "
            f"{callee.name}.function(…).",
        )


def arguments_of(checkpoint: Checkpoint[..., Any], task: Record, store: ObjectStore) -> inspect.BoundArguments:
    """Return the arguments of a task, decoded."""
    values = {name: decode(value, store) for name, value in task["arguments"].items()}
    return inspect.BoundArguments(checkpoint.signature, cast("Any", values))


def run_body(
    inside: Inside, checkpoint: Checkpoint[..., Any], path: str, given: inspect.BoundArguments, *, ender: Ender
) -> Record:
    """Run the body and return how it ended: ``{output | error, records, seconds}``. Interruptions are raised."""
    started = time.time()
    scope = Scope(cast("Execution", inside), path, in_call=True)
    try:
        value = ender.run(scope, checkpoint, given)
        ended: Record = {"output": encode(value, inside.store)}
    except (Interruption, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit ends the call as any failure does
        ended = {"error": failure.describe(error, inside.store), "cause": failure.cause_of(error)}
    return {"v": 1, **ended, "records": inside.collected, "seconds": round(time.time() - started, 3)}


class Ender:
    """How a body that takes too long is ended; this one runs it in the main thread of a process of its own."""

    def __init__(self, too_late: Callable[[Record], None]) -> None:
        self._too_late = too_late
        """Tells the failure of a body that did not end by itself, just before its process is ended."""

    def run(self, scope: Scope, checkpoint: Checkpoint[..., Any], given: inspect.BoundArguments) -> Any:
        """Run the body; raises TimeoutError where it has not ended in time."""
        seconds = checkpoint.timeout
        if seconds is None:
            return _called(scope, checkpoint, given)
        with self._alarm(seconds):
            return _called(scope, checkpoint, given)

    @contextmanager
    def _alarm(self, seconds: float) -> Iterator[None]:
        """Raise TimeoutError here after ``seconds``; what does not heed it (native code) is ended with the process."""
        error = TimeoutError(f"the call has not ended within {seconds:g} seconds")

        def ring(_number: int, _frame: object) -> NoReturn:
            raise error

        def end() -> None:
            self._too_late({"v": 1, "error": {**_plain(error)}, "cause": "user_code", "records": []})
            os._exit(1)

        last = threading.Timer(seconds + _GRACE, end)
        last.daemon = True
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        last.start()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            last.cancel()


class LocalEnder(Ender):
    """On this machine: as the engine ends a body, in a forked process where there is a time limit."""

    def __init__(self, ended: Callable[[], BaseException | None]) -> None:
        super().__init__(lambda _: None)
        self._ended = ended

    def run(self, scope: Scope, checkpoint: Checkpoint[..., Any], given: inspect.BoundArguments) -> Any:
        """Run the body; raises TimeoutError where it has not ended in time."""
        if checkpoint.timeout is None:
            return _called(scope, checkpoint, given)
        from clary.engine.bodies import Child

        child = Child(contextvars.copy_context(), lambda: _called(scope, checkpoint, given), (), {})
        return child.result(checkpoint.timeout, self._ended)


def _called(scope: Scope, checkpoint: Checkpoint[..., Any], given: inspect.BoundArguments) -> Any:
    token = current_scope.set(scope)
    try:
        value = checkpoint.function(*given.args, **given.kwargs)
        if inspect.iscoroutine(value):
            import asyncio

            return asyncio.run(value)
        return value
    finally:
        current_scope.reset(token)


def _plain(error: BaseException) -> Record:
    kind = type(error)
    return {
        "type": kind.__qualname__,
        "module": kind.__module__,
        "message": str(error),
        "frames": [],
        "traceback": f"{kind.__qualname__}: {error}\n",
    }
