"""Handles: what a call of a checkpoint gives in a flow of Kitaru's or ZenML's shape, in place of the value.

A handle refers to the recorded output of a call. ``load()`` reads it anew each time, so whoever changes what he has
loaded changes nothing for others, and a flow that passes handles on holds none of the values in memory.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, NoReturn

from clary.artifacts import decode
from clary.kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.engine.execution import Execution
    from clary.kitaru.futures import CheckpointFuture


class FlowBody:
    """The body of such a flow while it runs: what it has submitted belongs to its run."""

    def __init__(self) -> None:
        self.futures: list[CheckpointFuture] = []
        self.typed: set[str] = set()
        """Names of checkpoints whose type has been noted."""
        self.asked: dict[str, int] = {}
        """How often it has waited, by the name of the wait."""
        self.over = False
        """Whether nothing more may begin."""

    def finish(self) -> None:
        """Wait for all that was submitted; raise the first failure that nobody has been given."""
        for future in self.futures:
            if future.failed() and not future.seen:
                future.raise_failure()


current_body: contextvars.ContextVar[FlowBody | None] = contextvars.ContextVar("clary_kitaru_body", default=None)
"""Set while the body of a flow runs whose checkpoints give handles; in any other flow they give values."""


class Lazy:
    """Something whose value is to be asked for with ``load()``: a handle or a future."""

    def load(self) -> Any:
        """Return the value."""
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        raise KitaruUsageError(
            "kitaru.handle_as_value",
            f"{self!r} is no value: it can be passed to checkpoints of clary.kitaru and clary.zenml only.",
            next_step="Pass its value: .load().",
        )


class OutputHandle(Lazy):
    """The output of a recorded call, or a part of it."""

    def __init__(self, execution: Execution, path: str, parts: tuple[int, ...] = ()) -> None:
        self._execution = execution
        self.path = path
        """Of the call."""
        self._parts = parts

    @property
    def name(self) -> str:
        """The call and its output, as messages name it."""
        return ".".join([self.path, "output", *map(str, self._parts)])

    def load(self) -> Any:
        """Return the value, a new one each time."""
        value = decode(self._execution.journal.state.calls[self.path]["output"], self._execution.store)
        for part in self._parts:
            value = value[part]
        return value

    def chunk(self, index: int) -> OutputHandle:
        """Return a handle of one item of the value, a sequence."""
        return OutputHandle(self._execution, self.path, (*self._parts, index))

    def __repr__(self) -> str:
        return f"<output {self.name}: a handle; .load() gives the value>"


class Unmapped:
    """A value that every call of a ``.map()`` or ``.product()`` is given whole."""

    def __init__(self, value: Any) -> None:
        self.value = value


def unmapped(value: Any) -> Any:
    """Mark an argument of ``.map()`` or ``.product()`` that every call is given whole."""
    return Unmapped(value)


def value_of(given: Any) -> Any:
    """Return an argument with values in place of its handles, in plain containers too."""
    if isinstance(given, Lazy):
        return given.load()
    if isinstance(given, Unmapped):
        return value_of(given.value)
    return _rebuilt(given, value_of) if any(True for _ in lazy_in(given)) else given


def lazy_in(given: Any) -> Iterator[Lazy]:
    """Yield the handles and futures in an argument, in plain containers too."""
    if isinstance(given, Lazy):
        yield given
    elif isinstance(given, Unmapped):
        yield from lazy_in(given.value)
    elif type(given) in (list, tuple):
        for one in given:
            yield from lazy_in(one)
    elif type(given) is dict:
        for one in given.values():
            yield from lazy_in(one)


def _rebuilt(container: Any, change: Callable[[Any], Any]) -> Any:
    if type(container) is dict:
        return {name: change(one) for name, one in container.items()}
    return type(container)(change(one) for one in container)
