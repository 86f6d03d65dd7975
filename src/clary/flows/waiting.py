"""``wait()`` for a person and ``sleep()`` for a time: durable, and without a machine meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from clary.engine import suspension
from clary.engine.scope import is_name
from clary.errors import UsageError
from clary.flows import questions
from clary.flows.context import scope_of
from clary.journal import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.engine.scope import Scope

T = TypeVar("T")
Seconds = float | timedelta

_NO_DEFAULT: Any = object()
_asking: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar("clary_asking", default=None)
"""The loop whose task waits in this thread."""


@overload
def wait(
    name: str,
    type: type[T],
    *,
    question: str = "",
    expires: Seconds | None = None,
    default: T = ...,
    reminder: str | None = None,
    metadata: dict[str, Any] | None = None,
    linger: Seconds = 0,
) -> T: ...
@overload
def wait(
    name: str,
    type: Any = None,
    *,
    question: str = "",
    expires: Seconds | None = None,
    default: Any = ...,
    reminder: str | None = None,
    metadata: dict[str, Any] | None = None,
    linger: Seconds = 0,
) -> Any: ...
def wait(
    name: str,
    type: Any = None,  # noqa: A002 what the answer is a value of
    *,
    question: str = "",
    expires: Seconds | None = None,
    default: Any = _NO_DEFAULT,
    reminder: str | None = None,
    metadata: dict[str, Any] | None = None,
    linger: Seconds = 0,
) -> Any:
    """Wait for an answer and return it; only in a flow's own body.

    On SageMaker the job ends meanwhile, once the calls that are under way have ended, and a new attempt goes on after
    the answer. Answer with ``clary runs answer RUN NAME VALUE``, or ``client.runs.answer(…)``.

    Args:
        name: what is waited for, as whoever answers calls it.
        type: of the answer: bool, int, float, str, Literal, an Enum, list, dict, a dataclass or a pydantic model. An
            answer that does not fit is refused where it is given. None takes any plain data.
        question: for whoever answers.
        expires: seconds after which the wait ends without an answer.
        default: the answer then, None or plain data that fits the type; without one the wait raises ClaryError
            ``wait.expired``.
        reminder: text shown beside the question to who looks at the run.
        metadata: plain data for whoever answers.
        linger: seconds for which the machine is kept in case the answer comes soon.

    Raises UsageError ``wait.in_checkpoint``, ``wait.bad_type``, ``wait.bad_question``; ClaryError ``wait.expired`` or
    ``wait.aborted``; ValidationError ``wait.unusable_answer``.
    """
    scope = scope_of("wait()")
    asked = _question(name, type, question, expires, default, reminder, metadata)
    loop = _asking.get()
    answer = suspension.ask(scope.execution, scope, asked, _seconds(linger, "linger"), loop=loop)
    return _answered(scope, type, answer)


@overload
async def wait_async(
    name: str,
    type: type[T],
    *,
    question: str = "",
    expires: Seconds | None = None,
    default: T = ...,
    reminder: str | None = None,
    metadata: dict[str, Any] | None = None,
    linger: Seconds = 0,
) -> T: ...
@overload
async def wait_async(
    name: str,
    type: Any = None,
    *,
    question: str = "",
    expires: Seconds | None = None,
    default: Any = ...,
    reminder: str | None = None,
    metadata: dict[str, Any] | None = None,
    linger: Seconds = 0,
) -> Any: ...
async def wait_async(name: str, type: Any = None, **options: Any) -> Any:  # noqa: A002 as in wait
    """Do as ``wait`` does, in an async flow; other tasks go on until all that is left is waiting."""
    return await _beside("wait_async()", lambda: wait(name, type, **options))


def sleep(duration: Seconds | None = None, *, until: datetime | None = None, suspend: bool | None = None) -> None:
    """Let time pass durably: to the same moment, however often the run is interrupted meanwhile.

    Args:
        duration: seconds, or a timedelta.
        until: the moment, in place of a duration; with a time zone.
        suspend: give the machine back meanwhile; None does so for more than five minutes. On a laptop the process
            stays.

    Raises UsageError ``sleep.in_checkpoint``, ``sleep.bad_duration``; ClaryError ``wake.no_role`` where a run would
    have to be woken and nobody could.
    """
    scope = scope_of("sleep()")
    moment = _moment(duration, until, suspension.now(scope.execution))
    suspension.sleep(scope.execution, scope, moment, suspend=suspend, loop=_asking.get())


async def sleep_async(
    duration: Seconds | None = None, *, until: datetime | None = None, suspend: bool | None = None
) -> None:
    """Do as ``sleep`` does, in an async flow."""
    await _beside("sleep_async()", lambda: sleep(duration, until=until, suspend=suspend))


async def _beside(name: str, call: Callable[[], T]) -> T:
    """Wait in a thread, beside the loop; it counts as busy until what it waits for is in the record."""
    scope, loop = scope_of(name), asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(_asking.set, loop)
    with scope.execution.activity.of(scope):
        return await asyncio.to_thread(context.run, call)


def _question(
    name: Any,
    kind: Any,
    question: str,
    expires: Seconds | None,
    default: Any,
    reminder: str | None,
    metadata: dict[str, Any] | None,
) -> dict[str, Any]:
    if not is_name(name):
        raise UsageError(
            "wait.bad_question",
            f"“{name}” cannot name a wait: a name is a text without “/”, “#” or “@”.",
            next_step="Choose another name.",
            field="name",
        )
    asked: dict[str, Any] = {"name": name, "question": question or name, "schema": questions.schema_of(kind)}
    if expires is not None:
        asked["expires_in"] = _seconds(expires, "expires")
    if default is not _NO_DEFAULT:
        asked["default"] = default
    if reminder is not None:
        asked["reminder"] = reminder
    if metadata is not None:
        asked["metadata"] = metadata
    try:
        json.dumps(asked)
    except (TypeError, ValueError) as error:
        raise UsageError(
            "wait.bad_question",
            f"default and metadata of a wait are plain data: {error}.",
            next_step="Give what JSON can hold.",
        ) from error
    if default is not _NO_DEFAULT:
        questions.check_default(name, kind, default)
    return asked


def _answered(scope: Scope, kind: Any, answer: dict[str, Any]) -> Any:
    state = scope.execution.journal.state
    asked = state.waits[answer["path"]]
    if answer["how"] == records.DEFAULTED and answer["value"] is None:
        return None
    return questions.answered(kind, suspension.outcome_of(answer, asked), asked, state)


def _moment(duration: Seconds | None, until: datetime | None, now: float) -> float:
    if (duration is None) == (until is None):
        raise UsageError("sleep.bad_duration", "sleep() takes a duration or until=.", next_step="Give one of the two.")
    if until is None:
        assert duration is not None
        return now + _seconds(duration, "duration")
    if until.tzinfo is None:
        raise UsageError(
            "sleep.bad_duration",
            "until= has no time zone, so it is a different moment on each machine.",
            next_step="Write for example datetime.now(UTC) + timedelta(hours=2).",
            field="until",
        )
    return until.astimezone(UTC).timestamp()


def _seconds(given: Seconds, name: str) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
    if not 0 <= seconds < 10 * 365 * 86400:
        raise UsageError(
            "sleep.bad_duration",
            f"{name}={given!r} is no time to wait.",
            next_step="Give seconds or a timedelta, from 0 to ten years.",
            field=name,
        )
    return seconds
