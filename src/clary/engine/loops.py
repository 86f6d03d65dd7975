"""Event loops for flows: tasks that know their place. Apart, so that flows without a coroutine never load asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from clary.engine import beside
from clary.engine.futures import running_loop
from clary.engine.scope import Scope, current_scope
from clary.errors import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from clary.engine.execution import Call, Execution
    from clary.engine.futures import CallFuture
    from clary.journal.records import Record

_LOOK_SECONDS = 0.2
"""Between looks whether the flow has ended meanwhile."""
_executions: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Execution]] = WeakKeyDictionary()
"""Whose coroutines a loop runs."""


def run(execution: Execution, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop whose tasks are numbered children of their makers.

    Submitted calls that nobody has awaited are seen to their end too; they would be cancelled with the loop. Where a
    loop runs already in this thread, as in a notebook, it is one in another thread.
    """

    async def body() -> Any:
        loop = asyncio.get_running_loop()
        _executions[loop] = ref(execution)
        loop.set_exception_handler(functools.partial(_end_on_interruption, execution, asyncio.current_task()))
        loop.set_task_factory(numbered_task)  # from here on: the body itself is no task of its own
        try:
            value = await coroutine
        except Exception:
            if (scope := current_scope.get()) is not None and not scope.in_call and execution.ended is None:
                await _finish(execution, loop)
            raise
        while left := [future for future in list(execution.open_calls) if future.runs_in(loop)]:
            ended, _ = await asyncio.wait([asyncio.ensure_future(_end_of(future)) for future in left])
            for one in ended:
                one.result()
        return value

    if running_loop() is not None:
        return beside.run(body())
    with asyncio.Runner() as runner:
        return runner.run(body(), context=contextvars.copy_context())


def own_loop(execution: Execution) -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs this code, if it is one of the execution's own."""
    loop = running_loop()
    owner = None if loop is None else _executions.get(loop)
    return loop if owner is not None and owner() is execution else None


async def run_body(call: Call) -> Any:
    """Run the body of an async checkpoint within its time; raises TimeoutError, and what the body raises."""
    seconds = call.callee.timeout
    if seconds is None:
        return await call.callee.function(*call.arguments, **call.keywords)
    deadline = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds) as limit:
            value = await call.callee.function(*call.arguments, **call.keywords)
        if time.monotonic() < deadline:  # else it has blocked the loop, or taken no cancellation
            return value
    except TimeoutError:
        if not limit.expired():
            raise  # the body's own
    raise TimeoutError(f"the call has not ended within {seconds:g} seconds")


async def _finish(execution: Execution, loop: asyncio.AbstractEventLoop) -> None:
    """See the calls that tasks of a failed flow have begun to their end; the tasks begin no more."""
    execution.activity.failing = loop
    while execution.activity.in_loop(loop):  # noqa: ASYNC110 their ends may be told in any thread
        await asyncio.sleep(_LOOK_SECONDS)


def _end_on_interruption(
    execution: Execution, body: asyncio.Task[Any] | None, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """End the flow on a stop that came while the loop ran a callback of its own: asyncio would only tell of it."""
    error = context.get("exception")
    if not isinstance(error, Interruption):
        loop.default_exception_handler(context)
        return
    execution.close(error)
    if body is not None:
        body.cancel()


async def _end_of(future: CallFuture[Any]) -> None:
    with suppress(Exception):  # nobody has asked for it, and it is in the record
        await future


def numbered_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    """Make an asyncio task a numbered child of the scope that makes it (a task factory)."""
    scope = current_scope.get()
    if scope is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    context = options.pop("context", None) or contextvars.copy_context()
    place = Scope(scope.execution, scope.next_path("task"), in_call=scope.in_call)
    context.run(current_scope.set, place)
    task = _Numbered(coroutine, loop=loop, context=context, **options)
    task.place = place
    return task


class _Numbered(asyncio.Task[Any]):
    """A task that knows its place."""

    place: Scope


async def settle(execution: Execution, call: Call) -> None:
    """Let nothing run any more of a try that has failed, before the next one runs the same calls.

    What it submitted is seen to its end, as always; other tasks that it has left behind are cancelled.
    """
    if not call.callee.retries.count:
        return
    below = f"{call.path}/"
    submitted = [future for future in list(execution.open_calls) if future.path.startswith(below)]
    theirs = tuple(f"{future.path}/" for future in submitted)
    left = [
        task
        for task in asyncio.all_tasks()
        if isinstance(task, _Numbered) and task.place.execution is execution and task.place.path.startswith(below)
        if not (task.place.path.startswith(theirs) or any(future.runs_as(task) for future in submitted))
    ]
    for task in left:
        task.cancel()
    waiting: list[asyncio.Future[Any]] = [*left, *(future.ended() for future in submitted)]
    if waiting:
        await asyncio.wait(waiting)


async def rest_until(execution: Execution, moment: float) -> None:
    """Let time pass in an event loop, to ``moment``; raises the reason where the flow ends meanwhile."""
    while (left := moment - time.time()) > 0:
        execution.refuse_ended()
        await asyncio.sleep(min(left, _LOOK_SECONDS))
    execution.refuse_ended()


async def begun(execution: Execution, call: Call) -> None:
    """Begin a call elsewhere, and let the loop go on until its result is there: no thread waits for it."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(ready.set)

    execution.begin_elsewhere(call, tell)
    await ready.wait()


class Outbox:
    """Records of the calls of one loop on their way into the log: all that are ready go together, in one thread."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def put(self, record: Record) -> None:
        """Make the record durable; returns when it is. Who is cancelled meanwhile does not take the record back."""
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._waiting.append((record, written))
        if self._sender is None:
            self._sender = asyncio.Task(self._send(), loop=loop)  # no child of the call that happens to be first
        await written

    async def _send(self) -> None:
        batch: list[tuple[Record, asyncio.Future[None]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await asyncio.to_thread(self._write, *[record for record, _ in batch])
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)
        except asyncio.CancelledError:  # the loop ends
            for _, written in [*batch, *self._waiting]:
                written.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised in the calls that wait; it is final
            for _, written in [*batch, *self._waiting]:
                if not written.done():
                    written.set_exception(error)
            self._waiting = []
        finally:
            self._sender = None
