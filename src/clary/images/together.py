"""Several pieces of work at once, in threads that hold up nobody who wants to leave."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar

T = TypeVar("T")
_GRACE = 2.0
"""Seconds that work which is under way is given to end."""
_LOOK = 0.2
"""Seconds after which Python looks for Ctrl-C: one that comes just before it begins to wait does not wake it."""


def together(work: Sequence[Callable[[], T]], at_once: int, stop: Callable[[], object] | None = None) -> list[T]:
    """Do all of it, begun in this order, so much at once, and return what each returned.

    The first failure is raised, and Ctrl-C at once: nothing more is begun, ``stop`` tells what is under way to end, and
    two seconds later it is waited for no longer. A server may be silent for minutes; the threads are daemons, so that
    not even the end of the process waits for it. Without ``stop`` the work has to be such that it may be broken off.
    """
    waiting = deque(enumerate(work))
    ended: SimpleQueue[tuple[int, Callable[[], T]]] = SimpleQueue()
    threads = [
        threading.Thread(target=_work, args=(waiting, ended), name=f"clary-together-{number}", daemon=True)
        for number in range(min(at_once, len(work)))
    ]
    results: dict[int, T] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(work):
            try:
                number, result = ended.get(timeout=_LOOK)
            except Empty:
                continue
            results[number] = result()
    except BaseException:
        waiting.clear()
        if stop is not None:
            stop()
        _leave(threads)
        raise
    return [results[number] for number in range(len(work))]


def _work(waiting: deque[tuple[int, Callable[[], T]]], ended: SimpleQueue[tuple[int, Callable[[], T]]]) -> None:
    while True:
        try:
            number, task = waiting.popleft()
        except IndexError:
            return
        try:
            result = task()
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are waited for
            waiting.clear()
            ended.put((number, _raising(error)))
            return
        ended.put((number, partial(_same, result)))


def _same(result: T) -> T:
    return result


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def _leave(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _GRACE
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, until - time.monotonic()))
