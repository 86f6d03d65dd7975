"""``@checkpoint`` in Kitaru's shape: a call in a flow gives a handle, and handles are passed on as data edges."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from clary.engine.caching import cache_from
from clary.engine.retry import Retries
from clary.engine.scope import Scope, current_scope
from clary.flows import context
from clary.flows.checkpoint import Checkpoint, CheckpointOptions
from clary.flows.isolation import isolation_of
from clary.kitaru.errors import KitaruContextError, KitaruFeatureNotAvailableError, KitaruUsageError, translated
from clary.kitaru.futures import CheckpointFuture, MapFuture, dependencies
from clary.kitaru.handles import Lazy, OutputHandle, current_body, value_of
from clary.kitaru.journaled import TYPE_MARK
from clary.kitaru.names import map_key
from clary.kitaru.outputs import output_count

if TYPE_CHECKING:
    from clary.engine.execution import Execution
    from clary.kitaru.handles import FlowBody

P = ParamSpec("P")
R = TypeVar("R")


class CheckpointDefinition(Checkpoint[P, R], Generic[P, R]):
    """A checkpoint whose calls in the body of a flow of the same shape give handles; elsewhere they give values."""

    def __init__(self, function: Callable[P, R], *, name: str | None = None, options: CheckpointOptions) -> None:
        if inspect.iscoroutinefunction(function):
            raise KitaruFeatureNotAvailableError(
                "kitaru.no_async",
                f"{function.__name__} is async; Kitaru 0.21 knows no async checkpoints and flows.",
                next_step="Decorate it with clary.checkpoint, whose calls are awaited and give values.",
            )
        with translated():
            super().__init__(function, name=name, options=options)

    @functools.cached_property
    def output_count(self) -> int:
        """How many outputs a call has."""
        return output_count(self.function)

    def __call__(  # type: ignore[override]  # it gives handles, and takes what names and orders the call
        self,
        *args: Any,
        id: str | None = None,  # noqa: A002 Kitaru's word
        after: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run the call, unless it is recorded, and return the handle of its output.

        Args:
            args: values, and handles or futures of other calls.
            id: names the call in place of its count; the path is then ``NAME@ID``.
            after: calls that have to have ended before.
            kwargs: as ``args``.

        A tuple of handles for several outputs. In a checkpoint's body, and in a flow of ``clary``: the plain value.
        """
        scope = current_scope.get()
        if scope is None:
            return self.outside(args, kwargs)
        for one in dependencies(after):
            one.load()
        values = {name: value_of(one) for name, one in kwargs.items()}
        call = scope.execution.make(self, self._path(scope, id), tuple(map(value_of, args)), values)
        value = scope.execution.perform(call)
        if current_body.get() is None or scope.in_call:
            return value
        return self.outputs(scope.execution, call.path)

    def outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002 for other shapes
        """Answer a call outside any flow: it is refused."""
        raise self._outside("()")

    def submit(  # type: ignore[override]  # futures of another shape
        self,
        *args: Any,
        id: str | None = None,  # noqa: A002
        after: Any = None,
        **kwargs: Any,
    ) -> CheckpointFuture:
        """Begin the call beside the flow's body, when what it depends on is there, and return its future."""
        scope, body = self._place("submit")
        return self._submitted(scope, body, id, (args, kwargs), dependencies(after))

    def map(self, *args: Any, after: Any = None, **kwargs: Any) -> MapFuture:  # type: ignore[override]
        """Begin a call for each item and return the futures in order.

        Taken apart are handles and futures of sequences, which must be equally long; where there are none, plain lists.
        Everything else, and what is marked ``unmapped(…)``, is given to every call as it is.
        """
        return self._fanned_out("map", args, kwargs, after)

    def product(self, *args: Any, after: Any = None, **kwargs: Any) -> MapFuture:  # type: ignore[override]
        """Begin a call for each combination of the items, those of the last argument changing quickest."""
        return self._fanned_out("product", args, kwargs, after)

    def outputs(self, execution: Execution, path: str) -> Any:
        """Return the handle of a recorded call, or the handles of its outputs."""
        handle = OutputHandle(execution, path)
        if self.output_count == 1:
            return handle
        return tuple(handle.chunk(index) for index in range(self.output_count))

    def _path(self, scope: Scope, identifier: str | None) -> str:
        self._note_type(scope)
        with translated():
            return scope.next_path(self.name) if identifier is None else scope.keyed_path(self.name, identifier)

    def _note_type(self, scope: Scope) -> None:
        """Note the checkpoint's type, once in each flow's body that calls it."""
        body = current_body.get()
        if self.options.type is None or body is None or scope.in_call or self.name in body.typed:
            return
        body.typed.add(self.name)
        context.log(**{f"{TYPE_MARK}{self.name}": self.options.type})

    def _submitted(
        self,
        scope: Scope,
        body: FlowBody,
        identifier: str | None,
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        after: Sequence[Lazy],
    ) -> CheckpointFuture:
        path = self._path(scope, identifier)
        future = CheckpointFuture(self, scope.execution, body, path, arguments, after)
        future.start()
        return future

    def _fanned_out(self, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any], after: Any) -> MapFuture:
        scope, body = self._place(verb)
        earlier = dependencies(after)
        calls = combinations(self.name, verb, args, kwargs)
        node = self._path(scope, None)
        return MapFuture(
            self,
            [self._submitted(scope, body, map_key(node, index), call, earlier) for index, call in enumerate(calls)],
        )

    def _place(self, verb: str) -> tuple[Scope, FlowBody]:
        scope, body = current_scope.get(), current_body.get()
        if scope is None:
            raise self._outside(f".{verb}()")
        if body is None or scope.in_call:
            where = f"the checkpoint {scope.path}" if scope.in_call else "a flow of clary"
            raise KitaruContextError(
                "kitaru.no_futures_here",
                f"{self.name}.{verb}() was called in {where}, where its futures would be of another shape.",
                next_step=f"Call {verb}() in the body of a flow of the same shape, or decorate {self.name} with "
                "clary.checkpoint.",
            )
        return scope, body

    def _outside(self, verb: str) -> KitaruContextError:
        return KitaruContextError(
            "kitaru.outside_flow",
            f"{self.name}{verb} works in a flow only: outside one there is no record to keep its calls in.",
            next_step=f"Call it in a flow, and the flow by .run(); for the plain function: {self.name}.function(…).",
        )


def combinations(
    name: str, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return the arguments of each call of a fan-out.

    Raises KitaruUsageError ``kitaru.nothing_to_map``, ``kitaru.map_counts``.
    """
    given: dict[int | str, Any] = dict(enumerate(args))
    given.update(kwargs)
    items = {slot: found for slot, one in given.items() if (found := _items(one)) is not None}
    if not items:  # plain lists are given whole beside a handle, as in ZenML, which would refuse this
        items = {slot: list(one) for slot, one in given.items() if isinstance(one, (list, tuple, range))}
    if not items:
        raise KitaruUsageError(
            "kitaru.nothing_to_map",
            f"{name}.{verb}() has nothing to take apart: no output of a checkpoint that is a sequence, and no list.",
            next_step=f"Give it a list; for a single call: {name}.submit(…).",
        )
    counts = {slot: len(found) for slot, found in items.items()}
    if verb == "map" and len(set(counts.values())) > 1:
        raise KitaruUsageError(
            "kitaru.map_counts",
            f"{name}.map() is given sequences of different lengths: {', '.join(map(str, counts.values()))}.",
            next_step="Give equally long ones; what every call is to get whole is marked: unmapped(…).",
        )
    rows = itertools.product(*items.values()) if verb == "product" else zip(*items.values(), strict=True)
    calls = []
    for row in rows:
        call = {**given, **dict(zip(items, row, strict=True))}
        calls.append((tuple(call[slot] for slot in range(len(args))), {slot: call[slot] for slot in kwargs}))
    return calls


def _items(given: Any) -> list[Any] | None:
    """Return the items of an argument that is taken apart, None for one that is given whole."""
    if isinstance(given, MapFuture):
        return list(given.futures)  # each call begins when its own item is there
    if not isinstance(given, Lazy):
        return None
    value = given.load()
    is_sequence = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    if not is_sequence or isinstance(value, (str, bytes, bytearray, Mapping)):
        return None
    return [value[index] for index in range(len(value))]


@overload
def checkpoint(func: Callable[P, R], /) -> CheckpointDefinition[P, R]: ...
@overload
def checkpoint(
    *,
    retries: int = 0,
    type: str | None = None,
    runtime: str | None = None,
    cache: bool | None = None,
) -> Callable[[Callable[P, R]], CheckpointDefinition[P, R]]: ...
def checkpoint(
    func: Callable[P, R] | None = None,
    *,
    retries: int = 0,
    type: str | None = None,  # noqa: A002 Kitaru's word
    runtime: str | None = None,
    cache: bool | None = None,
) -> Any:
    """Make a function durable, in the shape of Kitaru 0.21.

    Args:
        func: a sync function.
        retries: tries after the first.
        type: a label for people, such as ``llm_call``.
        runtime: ``"inline"`` or ``"isolated"``, as of ``clary.checkpoint``.
        cache: whether a call takes the result of another run. Kitaru's default was yes; here it is what the flow says,
            and no where nobody says anything.
    """

    def decorated(given: Callable[P, R]) -> CheckpointDefinition[P, R]:
        return CheckpointDefinition(given, options=options_of(given.__name__, retries, type, runtime, cache))

    return decorated if func is None else decorated(func)


def options_of(
    name: str,
    retries: int | Retries,
    label: str | None,
    runtime: str | None,
    cache: bool | None,
    resources: Mapping[str, Any] | None = None,
) -> CheckpointOptions:
    """Return what the native decorator would make of these options."""
    if isinstance(retries, int) and retries < 0:
        raise KitaruUsageError(
            "kitaru.bad_retries", f"retries={retries} is no count.", next_step="Give 0 or more.", field="retries"
        )
    with translated():
        isolation = isolation_of(name, (runtime or "inline").strip().lower(), resources, None, None, None)
        policy = retries if isinstance(retries, Retries) else Retries(count=retries)
        return CheckpointOptions(retries=policy, type=label, isolation=isolation, cache=cache_from(cache))


def refuse(what: str, reason: str, next_step: str) -> NoReturn:
    """Refuse what has no place: raises KitaruFeatureNotAvailableError ``kitaru.not_available``."""
    raise KitaruFeatureNotAvailableError(
        "kitaru.not_available", f"{what} is not available here: {reason}", next_step=next_step
    )
