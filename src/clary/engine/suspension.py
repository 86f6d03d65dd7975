"""Waiting without a machine: for a person's answer, or for a time. What is asked and answered is in the log.

A wait that has no answer yet ends the attempt: its job is over, nobody pays for it, and the next attempt begins when
the answer is there. Calls that are under way are seen to their end first, so that none of them runs twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from clary.engine.activity import is_quiet
from clary.errors import ClaryError, UsageError
from clary.journal import records

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from clary.engine.execution import Execution
    from clary.engine.scope import Scope
    from clary.journal.records import Record

IN_PROCESS = 300.0
"""Seconds of sleep for which the machine is kept: giving it back and getting another takes about as long."""
_POLL = 1.0
"""Seconds between looks for an answer while calls are under way, or while the flow lingers."""


class Waker(Protocol):
    """Arranges that a suspended run goes on by itself."""

    def check(self) -> None:
        """Refuse, with the next step, where nothing could wake the run: raises ClaryError."""

    def wake_at(self, moment: float) -> None:
        """See to it that the run goes on at ``moment`` (epoch seconds). Called before the run is suspended."""

    def stay(self) -> None:
        """Take back what was arranged: the run goes on in this process after all."""

    def now(self) -> float:
        """Return the time (epoch seconds) by the clock that wakes the run, where that is ahead of this machine's."""


def now(execution: Execution) -> float:
    """Return the time by which the flow waits and sleeps, in epoch seconds."""
    return time.time() if execution.waker is None else execution.waker.now()


def ask(
    execution: Execution, scope: Scope, question: Record, linger: float, *, loop: AbstractEventLoop | None = None
) -> Record:
    """Return the answer to a question, asking it first if it was not asked yet.

    Args:
        execution: the attempt.
        scope: from where it is asked: the flow's body, not that of a checkpoint.
        question: ``name``, ``question`` and what ``records.wait`` takes besides; ``expires_in`` seconds if it expires.
        linger: seconds for which the machine is kept while nobody answers.
        loop: runs the task that asks; None in the flow's own thread. Then this is called in another thread, within
            ``execution.activity.of(scope)``.

    Raises Suspended when the run has to wait, UsageError ``wait.in_checkpoint``.
    """
    path = _path(scope, f"~wait:{question['name']}")
    state = execution.journal.state
    if path not in state.waits:
        expires_in = question.pop("expires_in", None)
        if expires_in is not None and execution.waker is not None:
            execution.waker.check()
        expires_at = None if expires_in is None else now(execution) + expires_in
        execution.write(records.wait(path, expires_at=expires_at, **question))
    asked = state.waits[path]
    patience = time.monotonic() + linger
    with execution.activity.waiting(path, asked["expires_at"]):
        execution.activity.over(scope)
        while path not in state.answers:
            execution.journal.absorb()
            if path in state.answers:
                break
            if asked["expires_at"] is not None and asked["expires_at"] <= now(execution):
                execution.write(expiry(asked))  # somebody's answer may come before it in the log, and holds then
                break
            if time.monotonic() >= patience and _only_waits(execution, loop):
                _suspend(execution)
            execution.rest_until(time.time() + _POLL)
    return state.answers[path]


def _only_waits(execution: Execution, loop: AbstractEventLoop | None) -> bool:
    """Tell whether all that is left of the attempt is waiting."""

    def busy() -> bool:
        return bool(execution.open_calls or execution.activity)

    return not busy() and (loop is None or is_quiet(loop, busy))


def _suspend(execution: Execution) -> None:
    """End the attempt: raises Suspended, or what has ended it before.

    What the flow does on the way out, in a ``finally`` for one, begins nothing: it goes on.
    """
    execution.close(execution.activity.suspension())
    execution.refuse_ended()


def expiry(asked: Record) -> Record:
    """Return the record that ends a wait which nobody has answered in time."""
    if "default" in asked:
        return records.answer(asked["path"], records.DEFAULTED, asked["default"])
    return records.answer(asked["path"], records.EXPIRED)


def sleep(
    execution: Execution, scope: Scope, until: float, *, suspend: bool | None, loop: AbstractEventLoop | None = None
) -> None:
    """Let time pass, to the same moment however often the run is interrupted meanwhile.

    ``until`` is in epoch seconds, for the first time this is reached. ``suspend`` says whether the machine is given
    back; None does so where it is worth it. ``loop`` as in ``ask``. Raises Suspended, UsageError
    ``sleep.in_checkpoint``.
    """
    path = _path(scope, "~sleep")
    state = execution.journal.state
    if path not in state.timers:
        execution.write(records.timer(path, until))
    moment = state.timers[path]
    left = moment - now(execution)
    if left <= 0:
        return
    if execution.waker is None or suspend is False or (suspend is None and left <= IN_PROCESS):
        execution.rest_until(time.time() + left)
        return
    execution.waker.check()
    with execution.activity.waiting(path, moment):
        execution.activity.over(scope)
        while not _only_waits(execution, loop):
            execution.rest_until(time.time() + min(moment - now(execution), _POLL))
            if now(execution) >= moment:
                return
        _suspend(execution)


def _path(scope: Scope, name: str) -> str:
    scope.execution.refuse_to_begin(name)
    if scope.in_call:
        code, what = ("sleep.in_checkpoint", "sleep") if name == "~sleep" else ("wait.in_checkpoint", "wait")
        raise UsageError(
            code,
            f"{what}() was called in the checkpoint {scope.path}, whose body would run again from its beginning.",
            next_step=f"Call {what}() in the flow's own body, before or after the checkpoint.",
        )
    return scope.next_path(name)


def outcome_of(answer: Record, asked: Record) -> Any:
    """Return the answered value; raises UsageError-like errors for a wait that ended without one.

    Raises ClaryError ``wait.expired`` (nobody answered in time, and there is no default) or ``wait.aborted``.
    """
    if answer["how"] in (records.ANSWERED, records.DEFAULTED):
        return answer["value"]
    if answer["how"] == records.EXPIRED:
        raise ClaryError(
            "wait.expired",
            f"Nobody answered {asked['name']!r} in time.",
            next_step="Give the wait a default or more time, or catch this error in the flow.",
            field=asked["name"],
        )
    raise ClaryError(
        "wait.aborted",
        f"{asked['name']!r} was aborted" + (f" by {answer['by']}." if answer["by"] else "."),
        next_step="Catch this error in the flow where it should go on without the answer.",
        field=asked["name"],
    )
