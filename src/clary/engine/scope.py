"""Who a call is: a path that depends on the code alone, never on the schedule of threads and tasks.

A path is the parent's path, a slash, the name, ``#`` and a count: ``train#3``, ``outer#1/inner#2``. The count is taken
when the call is *made* (not when it runs), per parent; every asyncio task is a numbered child of whatever made it.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, TypeGuard

from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.engine.execution import Execution


def is_name(name: object) -> TypeGuard[str]:
    """Tell whether something can be the name of a step in a path."""
    return isinstance(name, str) and bool(name) and not set(name) & set("/#@")


class Scope:
    """A place in the flow from which calls are made: the flow's body, a call's body, or an asyncio task."""

    __slots__ = ("_counts", "_lock", "execution", "in_call", "path")

    def __init__(self, execution: Execution, path: str, *, in_call: bool = False) -> None:
        self.execution = execution
        self.path = path
        self.in_call = in_call
        """Whether this is inside a checkpoint's body."""
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def next_path(self, name: str) -> str:
        """Take the next number for that name here, and return the path."""
        with self._lock:
            number = self._counts[name] = self._counts.get(name, 0) + 1
        return self.join(f"{name}#{number}")

    def keyed_path(self, name: str, key: str) -> str:
        """Return the path of a call that has been given a key of its own.

        Raises UsageError (``call.key_taken``) for a key that a call of that name here has been given already.
        """
        step = f"{name}@{key.replace('%', '%25').replace('/', '%2F')}"
        with self._lock:
            if step in self._counts:
                raise UsageError(
                    "call.key_taken",
                    f"Two calls of {name} have the key “{key}”.",
                    next_step="Let key= tell them apart, or keep the first one's result and use it again.",
                    field="key",
                )
            self._counts[step] = 1
        return self.join(step)

    def join(self, step: str) -> str:
        """Return the path of a step from here."""
        return f"{self.path}/{step}" if self.path else step


class _Live:
    """How many bodies of flows run in this process now."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def __bool__(self) -> bool:
        return self._count > 0


live = _Live()


def refuse_lost(name: str) -> None:
    """Refuse a call that comes from no place in a flow while one runs here: it would not be recorded, and run again.

    Raises UsageError ``call.unknown_place``.
    """
    if live:
        raise UsageError(
            "call.unknown_place",
            f"{name} was called in a thread that the flow did not start through Clary, so the call has no place in it.",
            next_step=f"Begin it with {name}.submit(…) or .map(…), which use threads of the run; the plain function is "
            f"{name}.function.",
        )


current_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("clary_scope", default=None)
