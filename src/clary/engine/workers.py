"""The threads of an attempt, and the submitted calls that wait for one of them."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor


class Workers:
    """Threads that take what is to be run in its order. None is made before there is something to do."""

    def __init__(self) -> None:
        self.count = min(32, (os.cpu_count() or 1) + 4)
        """How many there may be; as many as ThreadPoolExecutor takes by default."""
        self._waiting: deque[Callable[[], object]] = deque()
        # The pool is asked once for each thread, not for each call: what it keeps of a call is larger than the call.
        self._pool: ThreadPoolExecutor | None = None
        self._busy = 0
        self._over = False
        self._lock = threading.Lock()

    def take(self, run: Callable[[], object]) -> None:
        """Let one of the threads call ``run``; after the end nobody does."""
        with self._lock:
            if self._over:
                return
            self._waiting.append(run)
            if self._busy == self.count:
                return
            self._busy += 1
            pool = self._made()
        with suppress(RuntimeError):  # the end has come meanwhile
            pool.submit(self._work)

    def finish(self) -> None:
        """Wait for what the threads have begun; the rest is not begun, and nothing more is taken."""
        with self._lock:
            self._waiting.clear()
        self.join()

    def join(self) -> None:
        """Wait until the threads have ended; nothing more is taken."""
        self._end()
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def close(self) -> None:
        """Let nothing more be begun; what runs is not waited for."""
        self._end()
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _end(self) -> None:
        with self._lock:
            self._over = True

    def _made(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="clary-call")
        return self._pool

    def _work(self) -> None:
        while (run := self._next()) is not None:
            run()

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._busy -= 1
            return None
