"""Coroutines of a flow where another event loop runs already, as in a notebook: each in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop and a thread of its own; the loop that runs here stands still meanwhile.

    What breaks into the wait, Ctrl-C or a stop, cancels the coroutine, and is raised once that has ended.
    """
    beside = _Beside(coroutine)
    with _interruptible():
        try:
            beside.start()
            beside.ended.wait()
        except BaseException:
            beside.cancel()
            if beside.ident is not None:
                beside.ended.wait()  # a second Ctrl-C leaves it
            raise
    return beside.outcome()


class _Beside(threading.Thread):
    """The thread, with the context of the one that makes it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        super().__init__(name="clary-flow", daemon=True)
        self.ended = threading.Event()
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._cancelled = False
        self._cancel_task: Callable[[], object] | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run the coroutine."""
        try:
            with asyncio.Runner() as runner:
                self._value = runner.run(self._body(), context=self._context)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """Cancel the coroutine, be it begun or not."""
        self._cancelled = True
        if self._cancel_task is not None:
            self._cancel_task()

    def outcome(self) -> Any:
        """Return what the coroutine returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    async def _body(self) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)

        self._cancel_task = cancel
        if self._cancelled:  # before there was a task
            task.cancel()
        return await self._coroutine


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here, where whoever runs the outer loop has made it a matter of that loop."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
