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

    from clary.engine.execution import Call, Execution

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


_for_a_worker: contextvars.ContextVar[bool] = contextvars.ContextVar("clary_for_a_worker", default=False)
"""Whether one of the attempt's threads waits for the code that runs here."""
_ends = threading.Lock()
"""Guards the end of every call: it is held for a moment only, and a lock for each would be larger than the rest."""


class CallFuture(Generic[T_co]):
    """The result to be of one call.

    Whoever waits for a call that no thread has begun runs it himself. So a call that waits for its own children never
    waits for a free thread, however few there are. Many are kept to the end of a flow, so one is small once it is over.
    """

    __slots__ = (
        "_call",
        "_claim",
        "_context",
        "_done",
        "_error",
        "_execution",
        "_hearers",
        "_helper",
        "_loop",
        "_task",
        "_value",
        "path",
    )

    def __init__(self, execution: Execution, call: Call) -> None:
        self.path = call.path
        self._execution = execution
        self._call = call
        self._context = contextvars.copy_context()
        self._claim = threading.Lock()
        self._done = False
        self._value: T_co
        self._error: BaseException | None = None
        self._hearers: tuple[Callable[[], object], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T_co] | None = None
        self._helper: asyncio.Future[None] | None = None
        execution.open_calls.add(self)

    def start(self) -> None:
        """Hand the call to the attempt's threads; a recorded one needs none."""
        if self._execution.is_recorded(self._call):
            self._run()
        elif self._execution.is_elsewhere(self._call):
            self._execution.begin_elsewhere(self._call, self._start_in_thread)
        else:
            self._start_in_thread()

    def _start_in_thread(self) -> None:
        self._execution.workers.take(functools.partial(self._run, for_a_worker=True))

    def result(self, timeout: float | None = None) -> T_co:
        """Return the call's result, or raise what it raised; TimeoutError after ``timeout`` seconds."""
        self.wait(timeout)
        self._execution.unseen_failures.pop(self.path, None)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, None when it returned; waits for it."""
        self.wait(timeout)
        self._execution.unseen_failures.pop(self.path, None)
        return self._error

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended; TimeoutError after ``timeout`` seconds, which does not end the call.

        Raises what ended the attempt while the call ran: a stop that came in this thread is no failure of the call.
        """
        self._refuse_to_block()
        if timeout is None:
            self._run()
        self._wait_for_another(timeout)
        if isinstance(self._error, (Interruption, KeyboardInterrupt, SystemExit)):
            raise self._error

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._done

    def when_done(self, tell: Callable[[], object]) -> None:
        """Let ``tell`` be called once the call has ended, from any thread; at once if it has."""
        with _ends:
            if not self._done:
                self._hearers += (tell,)
                return
        tell()

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait in an event loop."""
        import asyncio

        if _for_a_worker.get() and not self._claim.locked():
            # The attempt's threads may all be waiting, this one's among them: the loop's own ones run the call.
            run = functools.partial(self._run, for_a_worker=True)
            self._helper = asyncio.get_running_loop().run_in_executor(None, run)
        return self._given().__await__()

    async def _given(self) -> T_co:
        try:
            return await self._awaited()
        finally:
            if self._done:  # else whoever asked has been cancelled
                self._execution.unseen_failures.pop(self.path, None)

    def ended(self) -> asyncio.Future[T_co]:
        """Return a future of the running loop that is done when the call is; taking it asks for no result."""
        ended = self._awaited()
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is told of elsewhere
        return ended

    def __repr__(self) -> str:
        return f"<call {self.path} {'done' if self._done else 'pending'}>"

    def start_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the call, of an async checkpoint, as a task of that loop."""
        self._claim.acquire()
        self._loop = loop
        self._task = loop.create_task(
            self._execution.perform_async(self._call, submitted=True)
        )  # the loop itself keeps it weakly
        self._task.add_done_callback(self._copy)

    def runs_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether the call is a task of that loop."""
        return self._loop is loop

    def runs_as(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether the call is that task."""
        return self._task is task

    def _refuse_to_block(self) -> None:
        """Raise UsageError (``call.await_instead``) where waiting would stop the loop that runs the call."""
        if self._loop is None or self._done:
            return
        if running_loop() is self._loop:
            raise UsageError(
                "call.await_instead",
                f"Waiting for {self.path} here would stop the event loop that runs it.",
                next_step="Write “await future” in place of “future.result()”, “async for” in place of “for”.",
            )

    def _wait_for_another(self, timeout: float | None) -> None:
        """Wait until whoever runs the call has ended it."""
        if self._done:
            return
        ended = threading.Event()
        self.when_done(ended.set)
        try:
            if not ended.wait(timeout):
                raise TimeoutError(f"{self.path} has not ended within {timeout:g} seconds")
        finally:
            with _ends:
                self._hearers = tuple(tell for tell in self._hearers if tell != ended.set)

    def _awaited(self) -> asyncio.Future[T_co]:
        """Return a future of the running loop to which the outcome is copied; cancelling it cancels nothing else."""
        import asyncio

        loop = asyncio.get_running_loop()
        awaited: asyncio.Future[T_co] = loop.create_future()

        def copy() -> None:
            if awaited.done():
                return
            if self._error is not None:
                awaited.set_exception(self._error)
            else:
                awaited.set_result(self._value)

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(copy)

        self.when_done(tell)
        return awaited

    def _run(self, *, for_a_worker: bool = False) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._context.run(_for_a_worker.set, for_a_worker or _for_a_worker.get())
            value = self._context.run(functools.partial(self._execution.perform, self._call, submitted=True))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._fail(error)
        else:
            self._value = value
            self._end(None)

    def _copy(self, task: asyncio.Task[T_co]) -> None:
        if task.cancelled():
            self._end(_cancelled())
            self._execution.tell_end(self.path)
        elif (error := task.exception()) is not None:
            self._fail(error)
        else:
            self._value = task.result()
            self._end(None)

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._execution.close(error)  # nothing more will be recorded: let nobody wait for it
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        del self._call, self._context  # nobody needs them any more
        self._error = error
        self._execution.open_calls.discard(self)
        with _ends:
            self._done = True
            hearers, self._hearers = self._hearers, ()
        for tell in hearers:
            tell()


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
