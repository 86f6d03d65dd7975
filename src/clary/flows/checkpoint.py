"""``@checkpoint``: a function whose every completed call in a flow is recorded and never runs again in that run."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from clary.engine import arguments, divergence
from clary.engine.caching import CacheLike, Policy, cache_from, check_ignored
from clary.engine.futures import CallFuture, CallFutures, refuse_foreign_loop, running_loop
from clary.engine.retry import NONE, Retries, RetriesLike, retries_from
from clary.engine.scope import Scope, current_scope, is_name, refuse_lost
from clary.engine.source import file_lines, source_digest
from clary.errors import UsageError
from clary.flows.declared import check_checkpoint
from clary.flows.isolation import Distribution, Isolation, isolation_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterable, Mapping

    from clary.engine.execution import Call, Execution
    from clary.image import Image

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")
"""What awaiting an async checkpoint's call gives."""


@dataclass(frozen=True)
class CheckpointOptions:
    """What the decorator was told."""

    key: Callable[..., str] | None = None
    retries: Retries = NONE
    timeout: float | None = None
    """Seconds after which a try is ended."""
    type: str | None = None
    """A label for people: ``llm_call``, ``tool_call``, ``train``…"""
    cache: Policy = None
    """When a call may take the result of another run; None: as the flow says."""
    isolation: Isolation | None = None
    """How its calls run in jobs of their own; None: in the flow's process."""


class Checkpoint(Generic[P, R]):
    """A function made durable. Called in a flow it returns the plain value; outside one it is the plain function."""

    def __init__(self, function: Callable[P, R], *, name: str | None, options: CheckpointOptions) -> None:
        check_checkpoint(function, name)
        functools.update_wrapper(self, function)
        self.function = function
        self.name = _checked_name(name or function.__name__)
        divergence.DECLARED.add(self.name)
        self.options = options
        self.retries = options.retries
        self.timeout = options.timeout
        self.cache = options.cache
        self.isolation = options.isolation
        check_ignored(options.cache, self.name, self.signature)
        self._lines = file_lines(function)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The function's parameters."""
        return inspect.signature(self.function)

    @functools.cached_property
    def source(self) -> str:
        """Digest of the function's own source, without comments."""
        return source_digest(self.function, self._lines)

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether a call must be awaited."""
        return inspect.iscoroutinefunction(self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the call's result, from the record if it is there. An async checkpoint's result is awaited."""
        scope = current_scope.get()
        if scope is None:
            refuse_lost(self.name)
            return self.function(*args, **kwargs)
        if self.is_async:
            refuse_foreign_loop(self.name)
        call = self._make(scope, args, kwargs)
        if self.is_async:
            return scope.execution.perform_async(call)  # type: ignore[return-value]  # R is the coroutine here
        result: R = scope.execution.perform(call)
        return result

    @overload
    def submit(self: Checkpoint[P, Coroutine[Any, Any, V]], *args: P.args, **kwargs: P.kwargs) -> CallFuture[V]: ...
    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> CallFuture[R]: ...
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> CallFuture[Any]:
        """Begin the call beside the flow's body and return its future; only in a flow."""
        scope = self._scope("submit")
        return self._start(scope, self._make(scope, args, kwargs))

    @overload
    def map(
        self: Checkpoint[P, Coroutine[Any, Any, V]], *iterables: Iterable[Any], **constants: Any
    ) -> CallFutures[V]: ...
    @overload
    def map(self, *iterables: Iterable[Any], **constants: Any) -> CallFutures[R]: ...
    def map(self, *iterables: Iterable[Any], **constants: Any) -> CallFutures[Any]:
        """Begin a call for each item and return the futures in order; only in a flow.

        Several iterables are taken together, as ``map`` does; ``constants`` are passed to every call as they are.
        """
        return self._start_all("map", zip(*iterables, strict=False), constants)

    @overload
    def product(
        self: Checkpoint[P, Coroutine[Any, Any, V]], *iterables: Iterable[Any], **constants: Any
    ) -> CallFutures[V]: ...
    @overload
    def product(self, *iterables: Iterable[Any], **constants: Any) -> CallFutures[R]: ...
    def product(self, *iterables: Iterable[Any], **constants: Any) -> CallFutures[Any]:
        """Begin a call for each combination of the items and return the futures in order; only in a flow.

        The last iterable's items change quickest; ``constants`` are passed to every call as they are.
        """
        return self._start_all("product", itertools.product(*iterables), constants)

    def __repr__(self) -> str:
        return f"<checkpoint {self.name}>"

    def _start_all(
        self, verb: str, combinations: Iterable[tuple[Any, ...]], constants: dict[str, Any]
    ) -> CallFutures[Any]:
        scope = self._scope(verb)
        marks = arguments.marks_of(constants.values())
        calls = [self._make(scope, items, constants, marks) for items in combinations]
        return CallFutures([self._start(scope, call) for call in calls])

    def _start(self, scope: Scope, call: Call) -> CallFuture[Any]:
        future: CallFuture[Any] = CallFuture(scope.execution, call)
        loop = _own_loop(scope.execution) if self.is_async else None
        if loop is None:
            future.start()
        else:
            future.start_in(loop)
        return future

    def _make(
        self,
        scope: Scope,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        marks: arguments.Marks = arguments.NONE,
    ) -> Call:
        key = self.options.key
        path = scope.next_path(self.name) if key is None else scope.keyed_path(self.name, str(key(*args, **kwargs)))
        return scope.execution.make(self, path, args, kwargs, marks)

    def _scope(self, verb: str) -> Scope:
        scope = current_scope.get()
        if scope is None:
            raise UsageError(
                "checkpoint.outside_flow",
                f"{self.name}.{verb}() works in a flow only: outside one there is no record to keep its calls in.",
                next_step=f"Call it from a function decorated with @flow, or call {self.name}(…) directly.",
            )
        return scope


@overload
def checkpoint(function: Callable[P, R], /) -> Checkpoint[P, R]: ...
@overload
def checkpoint(
    *,
    name: str | None = None,
    key: Callable[..., str] | None = None,
    retries: RetriesLike = None,
    timeout: float | timedelta | None = None,
    type: str | None = None,
    cache: CacheLike = None,
    runtime: Literal["inline", "isolated"] = "inline",
    resources: Mapping[str, Any] | None = None,
    image: str | Image | None = None,
    distribution: Distribution | None = None,
    limit: int | None = None,
) -> Callable[[Callable[P, R]], Checkpoint[P, R]]: ...
def checkpoint(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    key: Callable[..., str] | None = None,
    retries: RetriesLike = None,
    timeout: float | timedelta | None = None,
    type: str | None = None,  # noqa: A002 the word that people know
    cache: CacheLike = None,
    runtime: Literal["inline", "isolated"] = "inline",
    resources: Mapping[str, Any] | None = None,
    image: str | Image | None = None,
    distribution: Distribution | None = None,
    limit: int | None = None,
) -> Checkpoint[P, R] | Callable[[Callable[P, R]], Checkpoint[P, R]]:
    """Make a function durable: each completed call in a flow is recorded and never runs again in that run.

    Args:
        function: sync or async; what it returns is kept by value.
        name: stands for the function in the record; default its own name.
        key: gives a call's identity from its arguments, in place of the count of calls of that name.
        retries: tries after the first: a count, or ``Retries(count=3, delay=1, backoff=2, on=(ConnectionError,))``.
        timeout: seconds after which a try is ended and fails with TimeoutError. A sync body with a timeout runs in a
            process of its own, which can be ended whatever it does; what it returns must pickle.
        type: a label for people, such as ``llm_call``.
        cache: whether a call may take the result of another run's call with the same code and inputs: True, a function
            that gives a text for the arguments, or ``Cache(…)``; False never; None as the flow says, which is no.
        runtime: ``"inline"`` runs the body in the flow's job, ``"isolated"`` each call in a SageMaker job of its own.
            On a local stack both run here.
        resources: of the isolated job: any job settings, such as ``{"instance_type": "ml.g5.xlarge"}``, over those of
            stack and flow.
        image: of the isolated job, a reference or an ``Image``; default the flow's.
        distribution: what starts on the hosts of an isolated job with ``instance_count`` over 1: ``"hosts"`` (the
            function on each), ``"torchrun"`` or ``"mpi"``; ``{"torchrun": 4}`` starts 4 processes on each host.
        limit: isolated calls of this checkpoint that run at once; 10 unless told otherwise. Others wait in order.

    A call that was running when the process died runs again: let effects outside use ``current_run().idempotency_key``.
    """

    policy, seconds, reuse = retries_from(retries), _seconds(timeout), cache_from(cache)

    def decorated(given: Callable[P, R]) -> Checkpoint[P, R]:
        called = name or str(getattr(given, "__name__", ""))
        where = isolation_of(called, runtime, resources, image, distribution, limit)
        options = CheckpointOptions(key, policy, seconds, type, cache=reuse, isolation=where)
        return Checkpoint(given, name=name, options=options)

    return decorated if function is None else decorated(function)


def _own_loop(execution: Execution) -> AbstractEventLoop | None:
    """Return the loop of the flow that runs this code. Another one, such as a notebook's, would not run its calls."""
    if running_loop() is None:
        return None
    from clary.engine.loops import own_loop

    return own_loop(execution)


def _seconds(timeout: float | timedelta | None) -> float | None:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and not (_is_number(seconds) and seconds > 0):
        raise UsageError(
            "checkpoint.bad_timeout",
            f"timeout={timeout!r} is no time in which anything could be done.",
            next_step="Give seconds, or a timedelta, of more than 0.",
            field="timeout",
        )
    return seconds


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked_name(name: Any) -> str:
    if not is_name(name):
        raise UsageError(
            "checkpoint.bad_name",
            f"“{name}” cannot name a checkpoint: a name is a text without “/”, “#” or “@”.",
            next_step="Choose another name=.",
            field="name",
        )
    return name
