"""One attempt from its first act, opening the log, to the record of its end. The same in a job and on a laptop."""

from __future__ import annotations

import functools
import inspect
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clary.artifacts import decode, encode
from clary.engine import caching, failure, progress, replaying, suspension
from clary.engine.execution import Execution
from clary.engine.scope import current_scope, live
from clary.engine.workers import Workers
from clary.errors import ClaryError, Fenced, Interruption, Retry, StopRequested, Suspended
from clary.journal import records
from clary.journal.writer import Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from clary.engine.retry import Retries
    from clary.engine.suspension import Waker
    from clary.journal.log import Log
    from clary.journal.records import Record
    from clary.journal.state import RunState
    from clary.objects import ObjectStore

_SHOWN = 5
"""How many lost calls are named."""
EXIT_COMPLETED = 0
"""Also of an attempt that was suspended."""
EXIT_FAILED = 1
"""Do not retry: the user's code failed."""
EXIT_TRY_AGAIN = 75
"""Retry: the record could not be read or written (EX_TEMPFAIL of sysexits)."""
EXIT_FENCED = 76
"""Do not retry: another attempt has the run."""
EXIT_STOPPED = 143
"""Do not retry: stopped on request (128 + SIGTERM)."""


class Body(Protocol):
    """What the engine must know of a flow."""

    name: str
    function: Callable[..., Any]
    workers: int | None
    retries: Retries
    cache: bool
    """Whether checkpoints that say nothing of it take results of other runs."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    status: str
    """``completed``, ``failed``, ``stopped``, ``waiting``, ``fenced``, or ``interrupted`` by a signal."""
    value: Any = None
    error: BaseException | None = None
    failure: Record | None = None
    """The recorded failure: ``{error, calls, cause}``."""
    exit_code: int = EXIT_COMPLETED
    replayed: int = 0
    """Calls that the record answered."""
    left_over: tuple[str, ...] = ()
    """Recorded calls that the body never made again: the flow has lost them since."""

    def lost(self) -> str:
        """Tell in words which recorded calls were not made again; empty for none."""
        count = len(self.left_over)
        shown = ", ".join(self.left_over[:_SHOWN]) + (" …" if count > _SHOWN else "")
        return f"{count} recorded {'call was' if count == 1 else 'calls were'} not made again: {shown}" if count else ""


def run_attempt(
    log: Log,
    store: ObjectStore,
    load: Callable[[RunState], Body],
    attempt: int,
    *,
    host: str,
    on_call: Callable[[Record], None] | None = None,
    on_open: Callable[[Journal], None] | None = None,
    waker: Waker | None = None,
    extend: Callable[[Execution], None] | None = None,
) -> Outcome:
    """Run one attempt at a run's flow and record its end.

    Args:
        log: the run's log; it holds at least the ``created`` record.
        store: where large values lie.
        load: gives the flow whose body to run, for the state that was read; called once the log is open.
        attempt: the attempt's number, claimed in the log before.
        host: name of this machine, for the record.
        on_call: told of every call that is recorded, and of every try that failed, in the order of the log.
        on_open: given the journal once it is open, e.g. to watch it for a stop request.
        waker: wakes the run when it is suspended until a time; None where the process may stay, and sleep.
        extend: installs shortcuts and places elsewhere (``clary.engine.extensions``) on the execution of the body.

    Whatever the flow's body raises is in the outcome, not raised. Raises JournalError when the record cannot be
    read or written, KeyboardInterrupt after recording it.
    """
    journal = Journal(log, attempt)
    try:
        state = journal.open(host=host, pid=os.getpid())
        if on_open is not None:
            on_open(journal)
        claimed = state.attempts.get(attempt)
        on_change = claimed.on_change if claimed else "error"
        make = functools.partial(Execution, journal, store, on_change=on_change, on_call=on_call, waker=waker)
        running = _Running(make, extend)
    except Interruption as error:
        return _interrupted(journal, error)
    return _run_to_end(running, load)


class _Running:
    """An attempt under way: one execution of the flow's body after another, on one journal."""

    def __init__(self, make: Callable[[], Execution], extend: Callable[[Execution], None] | None) -> None:
        self._make = make
        self._extend = extend
        self.begin_again()

    def begin_again(self) -> None:
        """Run the body once more; what is recorded is replayed."""
        self.execution = self._make()
        replaying.install(self.execution)
        if self._extend is not None:
            self._extend(self.execution)


def _run_to_end(running: _Running, load: Callable[[RunState], Body]) -> Outcome:
    journal = running.execution.journal
    try:
        try:
            flow = load(journal.state)
            with progress.of_values(journal):
                value = _run_flow(running, flow)
        except BaseException as error:  # noqa: BLE001 - SystemExit and cancellation are failures of the flow too
            broke_in = _interruption(error) or _stopping(running.execution)
            if broke_in is None and running.execution.ended is None:
                running.execution.workers.finish()
            running.execution.close(broke_in or error)
            if broke_in is not None:
                raise broke_in from None
            return _failed(running.execution, error)
        running.execution.close(Fenced("the run is completed"))
        return _completed(running.execution, value)
    except KeyboardInterrupt:
        _stopped(journal, StopRequested("interrupted from the keyboard"))
        raise
    except Suspended:
        return Outcome("waiting")
    except Interruption as error:
        outcome = _interrupted(journal, error)
    return outcome if outcome.status != "completed" else _completed(running.execution, _output(running.execution))


def _run_flow(running: _Running, flow: Body) -> Any:
    """Run the flow's body, as often as its retries allow, see its calls to their end and record the value.

    Raises Suspended once the run is recorded as waiting.
    """
    while True:
        execution = running.execution
        execution.workers.count = flow.workers or execution.workers.count
        caching.install(execution, by_default=flow.cache)
        inputs = {name: decode(value, execution.store) for name, value in execution.journal.state.inputs.items()}
        retry = execution.journal.state.flow_retry
        try:
            execution.rest_until(retry["next_at"] if retry else 0.0)
            value = _run_body(execution, flow, inputs)
            if isinstance(execution.ended, Suspended):  # the flow has made a result of its own of it
                raise execution.ended
            execution.drain()
        except BaseException as error:
            if not _goes_on(execution, flow, error):
                raise
            running.begin_again()
            continue
        execution.write(records.completed(encode(value, execution.store, label="the flow's result")))
        return value


def _goes_on(execution: Execution, flow: Body, error: BaseException) -> bool:
    """Tell whether the body is to run again: after a failure that is retried, or a wait whose end is there already.

    Raises Suspended once the run is recorded as waiting, also where the flow has made a failure of its own of that.
    """
    broke_in = _interruption(error) or execution.ended
    if isinstance(broke_in, Suspended):
        _suspend(execution, broke_in)
        if _wake_up(execution):
            return True
        raise broke_in
    if broke_in is not None or not isinstance(error, Exception):
        return False
    retry = execution.journal.state.flow_retry
    number = (retry["n"] if retry else 0) + 1
    if not flow.retries.allows(number, error):
        return False
    execution.drain()  # none of its calls may still run when the body runs again
    described = failure.describe(error, execution.store)
    next_at = time.time() + flow.retries.pause(number)
    execution.write(records.flow_retried(number, described, _failed_calls(execution, error), next_at))
    return True


def _suspend(execution: Execution, suspended: Suspended) -> None:
    """Record that the run waits. Who wakes it is arranged first: else a crash between the two would leave it asleep."""
    execution.drain()
    if suspended.until is not None and execution.waker is not None:
        execution.waker.wake_at(suspended.until)
    execution.write(records.suspended(suspended.on, suspended.until))


def _wake_up(execution: Execution) -> bool:
    """Go on at once if the answer came just before the run was recorded as waiting: nobody else would."""
    journal = execution.journal
    if not journal.state.due(suspension.now(execution)):
        journal.close(Fenced("the run waits"))
        return False
    execution.write(records.opened(nonce=os.urandom(16).hex(), host=socket.gethostname(), pid=os.getpid()))
    if execution.waker is not None:
        execution.waker.stay()
    return True


def _run_body(execution: Execution, flow: Body, inputs: dict[str, Any]) -> Any:
    token = current_scope.set(execution.root)
    execution.outer_error = sys.exception()
    try:
        with live:
            value = flow.function(**inputs)
            return execution.run_coroutine(value) if inspect.iscoroutine(value) else value
    finally:
        current_scope.reset(token)


def _interruption(error: BaseException) -> BaseException | None:
    """Return the interruption that the error is, or that a group of tasks was broken up by."""
    if isinstance(error, (Interruption, KeyboardInterrupt)):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _interruption(one)) is not None), None)
    return None


def _stopping(execution: Execution) -> BaseException | None:
    """Return the stop that was asked for, where the flow has made a failure of its own of it."""
    return execution.ended if isinstance(execution.ended, StopRequested) else None


_OF_A_FLOW = (_run_body.__code__, Execution.drain.__code__, Workers.finish.__code__)


def in_flow(frame: FrameType | None) -> bool:
    """Tell whether the code of a frame runs for a flow's body, or for a call that is seen to its end behind it."""
    while frame is not None and frame.f_code not in _OF_A_FLOW:
        frame = frame.f_back
    return frame is not None


def _completed(execution: Execution, value: Any) -> Outcome:
    execution.journal.close(Fenced("the run is completed"))
    calls = execution.journal.state.calls
    left_over = tuple(
        path
        for path, record in execution.recorded.items()
        if not _is_replayed(execution, path) and calls.get(path) is record  # else it was run again
    )
    return Outcome("completed", value=value, replayed=len(execution.replayed), left_over=left_over)


def _is_replayed(execution: Execution, path: str) -> bool:
    """Tell whether the record answered the call, or one that had made it."""
    while path and path not in execution.replayed:
        path = path.rpartition("/")[0]
    return bool(path)


def _output(execution: Execution) -> Any:
    output = execution.journal.state.output
    assert output is not None  # of a completed run
    return decode(output, execution.store)


def _failed(execution: Execution, error: BaseException) -> Outcome:
    journal = execution.journal
    if isinstance(journal.ended, ClaryError):  # out of reach, or refused; whatever the flow made of it
        again = journal.ended.retry is not Retry.NO
        return Outcome("failed", error=journal.ended, exit_code=EXIT_TRY_AGAIN if again else EXIT_FAILED)
    described = failure.describe(error, execution.store)
    record = records.failed(described, _failed_calls(execution, error), failure.cause_of(error))
    journal.write(record)
    journal.close(Fenced("the run has failed"))
    return Outcome("failed", error=error, failure=record, exit_code=EXIT_FAILED)


def _failed_calls(execution: Execution, error: BaseException) -> list[str]:
    """Return the calls whose failure is behind the flow's, and those that failed and nobody has looked at."""
    unseen = (path for paths in list(execution.unseen_failures.values()) for path in paths)
    return sorted({*failure.failed_calls(error), *unseen})


def _interrupted(journal: Journal, error: Interruption) -> Outcome:
    """Record a stop only if somebody asked for one: the platform sends the same signal when it takes a machine away."""
    try:
        journal.absorb()
    except Fenced as fenced:
        return Outcome("fenced", error=fenced, exit_code=EXIT_FENCED)
    except ClaryError:
        pass  # the record is out of reach, as it was when the signal came
    state = journal.state
    if isinstance(error, Fenced):
        return Outcome("fenced", error=error, exit_code=EXIT_FENCED)
    if journal.is_open and state.status in ("completed", "failed"):  # the signal came just behind the record of the end
        code = EXIT_COMPLETED if state.status == "completed" else EXIT_FAILED
        return Outcome(state.status, error=error, failure=state.failure, exit_code=code)
    if state.stop_requested:
        return _stopped(journal, error)
    journal.close(error)
    return Outcome("interrupted", error=error, exit_code=EXIT_STOPPED)


def _stopped(journal: Journal, error: Interruption) -> Outcome:
    try:
        journal.write(records.stopped(str(error)))
    except Fenced as fenced:
        return Outcome("fenced", error=fenced, exit_code=EXIT_FENCED)
    journal.close(Fenced("the run has been stopped"))
    return Outcome("stopped", error=error, exit_code=EXIT_STOPPED)
