"""Calls that run beside the flow's body: futures, fan-out, and the order in which results are taken."""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clary.engine import failure
from clary.errors import Interruption, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from clary.engine.execution import Call, Execution

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


_for_a_worker: contextvars.ContextVar[bool] = contextvars.ContextVar("clary_for_a_worker", default=False)
"""Whether one of the attempt's threads waits for the code that runs here."""


class CallFuture(Generic[T_co]):
    """The result to be of one call.

    Whoever waits for a call that no thread has begun runs it himself. So a call that waits for its own children never
    waits for a free thread, however few there are.
    """

    def __init__(self, execution: Execution, call: Call) -> None:
        from concurrent.futures import Future

        self.path = call.path
        self._execution = execution
        self._call = call
        self._context = contextvars.copy_context()
        self._claim = threading.Lock()
        self._future: Future[T_co] = Future()
        self._future.set_running_or_notify_cancel()  # who stops waiting for a call (a timeout) does not end the call
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T_co] | None = None
        self._helper: asyncio.Future[None] | None = None
        execution.open_calls.add(self)
        self._future.add_done_callback(lambda _done: execution.open_calls.discard(self))

    def start(self) -> None:
        """Hand the call to the attempt's threads; a recorded one needs none."""
        if self._execution.is_recorded(self._call):
            self._run()
        elif self._execution.is_elsewhere(self._call):
            self._execution.begin_elsewhere(self._call, self._start_in_pool)
        else:
            self._start_in_pool()

    def _start_in_pool(self) -> None:
        with suppress(RuntimeError):  # the flow has ended meanwhile: whoever still asks for the result learns of it
            self._execution.pool().submit(self._run, for_a_worker=True)

    def result(self, timeout: float | None = None) -> T_co:
        """Return the call's result, or raise what it raised; TimeoutError after ``timeout`` seconds."""
        self.wait(timeout)
        self._execution.unseen_failures.pop(self.path, None)
        return self._future.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, None when it returned; waits for it."""
        self.wait(timeout)
        self._execution.unseen_failures.pop(self.path, None)
        return self._future.exception()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended; TimeoutError after ``timeout`` seconds.

        Raises what ended the attempt while the call ran: a stop that came in this thread is no failure of the call.
        """
        self._refuse_to_block()
        if timeout is None:
            self._run()
        error = self._future.exception(timeout)
        if isinstance(error, (Interruption, KeyboardInterrupt, SystemExit)):
            raise error

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._future.done()

    def when_done(self, tell: Callable[[], object]) -> None:
        """Let ``tell`` be called once the call has ended, from any thread; at once if it has."""
        self._future.add_done_callback(lambda _done: tell())

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait in an event loop."""
        import asyncio

        if _for_a_worker.get() and not self._claim.locked():
            # The attempt's threads may all be waiting, this one's among them: the loop's own ones run the call.
            run = functools.partial(self._run, for_a_worker=True)
            self._helper = asyncio.get_running_loop().run_in_executor(None, run)
        return self._given().__await__()

    async def _given(self) -> T_co:
        import asyncio

        try:
            return await asyncio.wrap_future(self._future)
        finally:
            if self._future.done():  # else whoever asked has been cancelled
                self._execution.unseen_failures.pop(self.path, None)

    def ended(self) -> asyncio.Future[T_co]:
        """Return a future of the running loop that is done when the call is; taking it asks for no result."""
        import asyncio

        ended = asyncio.wrap_future(self._future)
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is told of elsewhere
        return ended

    def __repr__(self) -> str:
        return f"<call {self.path} {'done' if self.done() else 'pending'}>"

    def start_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the call, of an async checkpoint, as a task of that loop."""
        self._claim.acquire()
        self._loop = loop
        self._task = loop.create_task(
            self._execution.perform_async(self._call, submitted=True)
        )  # the loop itself keeps it weakly
        self._task.add_done_callback(self._copy)

    def _refuse_to_block(self) -> None:
        """Raise UsageError (``call.await_instead``) where waiting would stop the loop that runs the call."""
        if self._loop is None or self._future.done():
            return
        if running_loop() is self._loop:
            raise UsageError(
                "call.await_instead",
                f"Waiting for {self.path} here would stop the event loop that runs it.",
                next_step="Write “await future” in place of “future.result()”, “async for” in place of “for”.",
            )

    def runs_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether the call is a task of that loop."""
        return self._loop is loop

    def runs_as(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether the call is that task."""
        return self._task is task

    def _run(self, *, for_a_worker: bool = False) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._context.run(_for_a_worker.set, for_a_worker or _for_a_worker.get())
            value = self._context.run(functools.partial(self._execution.perform, self._call, submitted=True))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._fail(error)
        else:
            self._future.set_result(value)

    def _copy(self, task: asyncio.Task[T_co]) -> None:
        if task.cancelled():
            self._future.set_exception(_cancelled())
            self._execution.tell_end(self.path)
        elif (error := task.exception()) is not None:
            self._fail(error)
        else:
            self._future.set_result(task.result())

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._execution.close(error)  # nothing more will be recorded: let nobody wait for it
        self._future.set_exception(error)


class CallFutures(list[CallFuture[T]]):
    """The futures of a fan-out, in the order of the items."""

    def results(self) -> list[T]:
        """Return all results in order. All calls are waited for; then the first failure in order is raised, if any."""
        errors = [error for future in self if (error := future.exception()) is not None]
        for error in errors[1:]:  # if the first one ends the run, a resume runs all of them again
            for path in failure.failed_calls(error):
                failure.mark(errors[0], path)
        return [future.result() for future in self]


class AsCompleted(Generic[T]):
    """Futures in the order in which their calls were recorded, for ``for`` and for ``async for``."""

    def __init__(self, futures: Iterable[CallFuture[T]]) -> None:
        self._waiting = {future.path: future for future in futures}
        self._seen = 0

    def __iter__(self) -> Iterator[CallFuture[T]]:
        """Yield each future once its call is recorded; not in a loop that runs one of the calls."""
        for future in self._waiting.values():
            future._refuse_to_block()
        while self._waiting:
            with self._execution.news:
                while not self._is_news():
                    self._execution.news.wait()
            yield from self._fresh()

    async def __aiter__(self) -> AsyncIterator[CallFuture[T]]:
        """Yield each future once its call is recorded."""
        import asyncio

        if not self._waiting:
            return
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._execution.hearing(lambda: loop.call_soon_threadsafe(told.set)):
            while self._waiting:
                told.clear()
                if not self._is_news():
                    await told.wait()
                for future in self._fresh():
                    yield future

    @property
    def _execution(self) -> Execution:
        return next(iter(self._waiting.values()))._execution

    def _is_news(self) -> bool:
        return len(self._execution.committed) > self._seen or self._execution.ended is not None

    def _fresh(self) -> list[CallFuture[T]]:
        execution = self._execution
        paths = execution.committed[self._seen :]
        self._seen += len(paths)
        fresh = [self._waiting.pop(path) for path in paths if path in self._waiting]
        if not fresh and execution.ended is not None:
            raise execution.ended
        return fresh


def as_completed(futures: Iterable[CallFuture[T]]) -> AsCompleted[T]:
    """Yield the futures in the order in which their calls were recorded: a replay yields them in the same order.

    In an async flow: ``async for future in as_completed(futures)``.
    """
    return AsCompleted(futures)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs this code, if one does."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def refuse_foreign_loop(name: str) -> None:
    """Refuse a call in an event loop that the flow's own code has started: its tasks have no places of their own.

    Raises UsageError ``call.unknown_place``.
    """
    loop = running_loop()
    if loop is None:
        return
    from clary.engine.loops import numbered_task

    if loop.get_task_factory() is not numbered_task:
        raise UsageError(
            "call.unknown_place",
            f"{name} was called in an event loop that is not the run's own, where tasks have no place in the flow.",
            next_step="Make the flow (or the checkpoint) “async def” and await there, in place of asyncio.run().",
        )


def _cancelled() -> BaseException:
    import asyncio

    return asyncio.CancelledError()
