"""Calls that run beside the flow's body, in Kitaru's shape: a future may wait for other futures first.

A call takes its place in the record when it is submitted; it begins when all that it depends on is there. Nobody waits
in a thread for that: the end of the last dependency begins it, or whoever asks for its result.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, overload

from clary.engine.futures import CallFuture
from clary.errors import Fenced, Interruption
from clary.kitaru.errors import KitaruUsageError
from clary.kitaru.handles import FlowBody, Lazy, OutputHandle, lazy_in, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from clary.engine.execution import Execution
    from clary.kitaru.checkpoints import CheckpointDefinition


class CheckpointFuture(Lazy):
    """The result to be of one submitted call."""

    def __init__(
        self,
        definition: CheckpointDefinition[..., Any],
        execution: Execution,
        body: FlowBody,
        path: str,
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        after: Sequence[Lazy],
    ) -> None:
        self.path = path
        self.seen = False
        """Whether somebody has been given its outcome."""
        self._definition = definition
        self._execution = execution
        self._body = body
        self._arguments: tuple[tuple[Any, ...], Mapping[str, Any]] | None = arguments
        self._context = contextvars.copy_context()
        self._lock = threading.RLock()
        self._call: CallFuture[Any] | None = None
        self._ended: Future[None] = Future()
        given = [*after, *lazy_in(list(arguments[0])), *lazy_in(dict(arguments[1]))]
        self._awaited = {id(one): one for lazy in given for one in _futures_behind(lazy)}
        body.futures.append(self)

    @property
    def invocation_id(self) -> str:
        """Who the call is, in its run."""
        return self.path

    def start(self) -> None:
        """Begin the call, now or when what it depends on has ended."""
        pending = [one for one in self._awaited.values() if not one._ended.done()]
        if not pending:
            self._begin()
            return
        left = _Countdown(len(pending), self._begin)
        for one in pending:
            one._ended.add_done_callback(lambda _ended: left.one_less())

    def load(self) -> Any:
        """Wait for the call and return its value; a tuple of them where the checkpoint has several outputs."""
        self.wait()
        self.seen = True
        if self._call is None:
            self.raise_failure()
        else:
            self._call.result()  # raises what the call raised
        return OutputHandle(self._execution, self.path).load()

    def result(self) -> Any:
        """Wait for the call and return the handle of its output; a tuple of them where it has several."""
        self.wait()
        self.seen = True
        if self.failed():
            self.raise_failure()
        return self._definition.outputs(self._execution, self.path)

    artifacts = result

    def wait(self) -> None:
        """Wait until the call has ended, however it did."""
        for one in self._awaited.values():
            one.wait()
        self._begin()
        if self._call is not None:
            self._call.wait()

    def running(self) -> bool:
        """Tell whether the call has not ended."""
        return not self._ended.done()

    def failed(self) -> bool:
        """Wait for the call and tell whether it failed."""
        self.wait()
        return self._ended.exception() is not None or (self._call is not None and self._call.exception() is not None)

    def raise_failure(self) -> None:
        """Raise what the call raised, or that for which it did not begin."""
        self.seen = True
        error = self._ended.exception() or (None if self._call is None else self._call.exception())
        if error is not None:
            raise error

    def __getitem__(self, index: int) -> OutputFuture:
        """Return one of the outputs; raises IndexError for one that the checkpoint does not have."""
        return OutputFuture(self, range(self._definition.output_count)[index])

    def __iter__(self) -> Iterator[OutputFuture]:
        return (self[index] for index in range(len(self)))

    def __len__(self) -> int:
        """Return how many outputs there are."""
        return self._definition.output_count

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<call {self.path} {'pending' if self.running() else 'done'}: a future; .load() gives the value>"

    def _begin(self) -> None:
        with self._lock:
            if self._arguments is None:
                return
            (args, kwargs), self._arguments = self._arguments, None
            try:
                self._context.run(self._call_with, args, kwargs)
            except (Exception, Interruption) as error:  # noqa: BLE001 it is raised where the result is asked for
                self._ended.set_exception(error)

    def _call_with(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._body.over:
            raise Fenced("the flow has ended")
        for one in self._awaited.values():
            if one.failed():
                one.raise_failure()
        values = {name: value_of(one) for name, one in kwargs.items()}
        made = self._execution.make(self._definition, self.path, tuple(map(value_of, args)), values)
        self._call = CallFuture(self._execution, made)
        self._call.start()
        self._call.when_done(lambda: self._ended.set_result(None))


class OutputFuture(Lazy):
    """One of the outputs of a submitted call."""

    def __init__(self, future: CheckpointFuture, index: int) -> None:
        self.future = future
        self._index = index

    def load(self) -> Any:
        """Wait for the call and return the value."""
        value = self.future.load()
        return value[self._index] if len(self.future) > 1 else value

    def result(self) -> OutputHandle:
        """Wait for the call and return the handle of the output."""
        found = self.future.result()
        handle: OutputHandle = found[self._index] if len(self.future) > 1 else found
        return handle

    def wait(self) -> None:
        """Wait until the call has ended."""
        self.future.wait()

    def running(self) -> bool:
        """Tell whether the call has not ended."""
        return self.future.running()

    def __repr__(self) -> str:
        return f"<output {self._index} of {self.future!r}>"


class MapFuture(Lazy, Sequence[CheckpointFuture]):
    """The futures of a ``.map()`` or ``.product()``, in order."""

    def __init__(self, definition: CheckpointDefinition[..., Any], futures: Sequence[CheckpointFuture]) -> None:
        self._definition = definition
        self.futures = list(futures)

    def load(self) -> list[Any]:
        """Wait for all calls and return their values; the first failure in order is raised."""
        self.wait()
        return [future.load() for future in self.futures]

    def result(self) -> list[Any]:
        """Wait for all calls and return the handles of their outputs."""
        self.wait()
        return [future.result() for future in self.futures]

    def wait(self) -> None:
        """Wait until all calls have ended."""
        for future in self.futures:
            future.wait()

    def running(self) -> bool:
        """Tell whether one of the calls has not ended."""
        return any(future.running() for future in self.futures)

    def unpack(self) -> tuple[list[OutputFuture], ...]:
        """Return, for each output of the checkpoint, a list of it over all calls."""
        return tuple([future[index] for future in self.futures] for index in range(self._definition.output_count))

    @overload
    def __getitem__(self, index: int) -> CheckpointFuture: ...
    @overload
    def __getitem__(self, index: slice) -> list[CheckpointFuture]: ...
    def __getitem__(self, index: int | slice) -> CheckpointFuture | list[CheckpointFuture]:
        return self.futures[index]

    def __len__(self) -> int:
        return len(self.futures)

    def __repr__(self) -> str:
        return f"<{len(self)} calls of {self._definition.name}: .load() gives the values>"


class _Countdown:
    """Calls back once, when as many have reported as were awaited."""

    def __init__(self, left: int, then: Callable[[], None]) -> None:
        self._left = left
        self._then = then
        self._lock = threading.Lock()

    def one_less(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()


def _futures_behind(given: Lazy) -> list[CheckpointFuture]:
    if isinstance(given, OutputFuture):
        return [given.future]
    if isinstance(given, MapFuture):
        return given.futures
    return [given] if isinstance(given, CheckpointFuture) else []


def dependencies(after: Any) -> list[Lazy]:
    """Return what ``after=`` names: a handle or future, or several; raises KitaruUsageError ``kitaru.bad_after``."""
    given = [] if after is None else [after] if isinstance(after, Lazy) else after
    found: list[Lazy] = []
    for one in given if isinstance(given, Sequence) and not isinstance(given, str) else [given]:
        if not isinstance(one, Lazy):
            raise KitaruUsageError(
                "kitaru.bad_after",
                f"after={one!r} is nothing that a call could wait for.",
                next_step="Give what another checkpoint's call or .submit() has returned, or a list of these.",
                field="after",
            )
        found.append(one)
    return found
