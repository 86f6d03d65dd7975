"""Calls that run beside the flow's body: futures, fan-out, and the order in which results are taken."""

from __future__ import annotations

import contextvars
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clary.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Future

    from clary.engine.execution import Call, Execution

T = TypeVar("T")


class CallFuture(Generic[T]):
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
        self._future: Future[T] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Hand the call to the attempt's threads; a recorded one needs none."""
        if self._execution.is_recorded(self._call):
            self._run()
        else:
            self._execution.pool().submit(self._run)

    def result(self, timeout: float | None = None) -> T:
        """Return the call's result, or raise what it raised; TimeoutError after ``timeout`` seconds."""
        self._refuse_to_block()
        if timeout is None:
            self._run()
        return self._future.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, None when it returned; waits for it."""
        self._refuse_to_block()
        if timeout is None:
            self._run()
        return self._future.exception(timeout)

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._future.done()

    def __await__(self) -> Generator[Any, None, T]:
        """Wait in an event loop."""
        import asyncio

        return asyncio.wrap_future(self._future).__await__()

    def __repr__(self) -> str:
        return f"<call {self.path} {'done' if self.done() else 'pending'}>"

    def start_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the call, of an async checkpoint, as a task of that loop."""
        self._claim.acquire()
        task = loop.create_task(self._execution.perform_async(self._call))
        task.add_done_callback(self._copy)
        self._loop = loop

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._future.set_result(self._context.run(self._execution.perform, self._call))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._fail(error)

    def _copy(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._fail(_cancelled())
        elif (error := task.exception()) is not None:
            self._fail(error)
        else:
            self._future.set_result(task.result())

    def _fail(self, error: BaseException) -> None:
        self._future.set_exception(error)
        if not isinstance(error, Exception):
            self._execution.close(error)  # nothing more will be recorded: let nobody wait for it

    def _refuse_to_block(self) -> None:
        if self._loop is None or self._future.done():
            return
        if running_loop() is self._loop:
            raise UsageError(
                "call.await_instead",
                f"Waiting for {self.path} here would stop the event loop that runs it.",
                next_step="Write “await future” in place of “future.result()”.",
            )


class CallFutures(list[CallFuture[T]]):
    """The futures of a fan-out, in the order of the items."""

    def results(self) -> list[T]:
        """Return all results in order. All calls are waited for; then the first failure in order is raised, if any."""
        for future in self:
            future.exception()
        return [future.result() for future in self]


def as_completed(futures: Iterable[CallFuture[T]]) -> Iterator[CallFuture[T]]:
    """Yield the futures in the order in which their calls were recorded: a replay yields them in the same order."""
    waiting = {future.path: future for future in futures}
    if not waiting:
        return
    execution = next(iter(waiting.values()))._execution
    seen = 0
    while waiting:
        with execution.news:
            while len(execution.committed) == seen and execution.ended is None:
                execution.news.wait()
            fresh, seen = execution.committed[seen:], len(execution.committed)
            ended = execution.ended
        yield from [waiting.pop(path) for path in fresh if path in waiting]
        if ended is not None and waiting:
            raise ended


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs this code, if one does."""
    if "asyncio" not in sys.modules:
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _cancelled() -> BaseException:
    import asyncio

    return asyncio.CancelledError()
