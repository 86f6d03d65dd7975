"""``@flow``: the outer durable boundary. A call runs it here; ``.run()`` runs it on a stack."""

from __future__ import annotations

import functools
import importlib
import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from clary.engine.retry import NONE, Retries, RetriesLike, retries_from
from clary.engine.scope import current_scope
from clary.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

_SERVICE = "clary.agent.service"
"""The one door from the flow's rooms to those that submit. It is opened by name, when used: in a job it never is."""


@dataclass(frozen=True)
class FlowOptions:
    """What the decorator was told."""

    stack: str | None = None
    image: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    workers: int | None = None
    retries: Retries = NONE


class Flow(Generic[P, R]):
    """A function whose run is durable."""

    def __init__(self, function: Callable[P, R], *, name: str | None, options: FlowOptions) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.options = options
        self.workers = options.workers
        self.retries = options.retries

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The flow's parameters: its inputs."""
        return inspect.signature(self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the flow here, in this process, durably, and return its value. In another flow: the plain body."""
        if current_scope.get() is not None:
            return self.function(*args, **kwargs)
        handle = self._start(self._bound(args, kwargs), stack="local")
        return handle.result()

    def run(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run on the stack that applies (``clary stack current`` tells which) and return its handle.

        On the stack ``local`` the run is over when this returns.
        """
        return self._start(self._bound(args, kwargs), stack=None)

    def on(self, stack: str) -> Flow[P, R]:
        """Return this flow with another stack: ``digits.on("gpu").run(models=8)``."""
        return Flow(self.function, name=self.name, options=replace(self.options, stack=stack))

    def bind(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs by parameter name, defaults included.

        Raises UsageError: ``flow.unknown_input`` for an input that fits no parameter, ``flow.missing_input``.
        """
        parameters = self.signature.parameters
        takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
        for name in inputs:
            if name not in parameters and not takes_any:
                raise self._unknown_input(name)
        missing = [
            one.name
            for one in parameters.values()
            if one.default is one.empty
            and one.name not in inputs
            and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        ]
        if missing:
            raise UsageError(
                "flow.missing_input",
                f"The flow {self.name} needs {', '.join(f'“{name}”' for name in missing)}.",
                next_step=f"Give --input {missing[0]}=VALUE (in Python: {self.name}.run({missing[0]}=…)).",
                field=missing[0],
            )
        defaults = {one.name: one.default for one in parameters.values() if one.default is not one.empty}
        return {**defaults, **inputs}

    def __repr__(self) -> str:
        return f"<flow {self.name}>"

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = list(self.signature.parameters)
        if len(args) > len(names):
            raise UsageError(
                "flow.unknown_input",
                f"The flow {self.name} takes {len(names)} inputs, not {len(args)}.",
                next_step=f"Its inputs are: {', '.join(names) or 'none'}.",
            )
        given = dict(zip(names, args, strict=False))
        for name in given.keys() & kwargs.keys():
            raise UsageError(
                "flow.input_twice",
                f"The input “{name}” of the flow {self.name} is given twice.",
                next_step="Give it by its place or by its name, not both.",
                field=name,
            )
        return self.bind({**given, **kwargs})

    def _start(self, inputs: dict[str, Any], *, stack: str | None) -> RunHandle[R]:
        service = importlib.import_module(_SERVICE)
        chosen = service.choose_stack(explicit=stack, flow=self.options.stack)
        view = service.start(service.target_of(self), inputs, chosen)
        return RunHandle(view.id, chosen, service)

    def _unknown_input(self, name: str) -> UsageError:
        names = list(self.signature.parameters)
        meant = nearest(name, names)
        hint = f"Did you mean “{meant}”? " if meant else ""
        return UsageError(
            "flow.unknown_input",
            f"The flow {self.name} has no input “{name}”.",
            next_step=f"{hint}Its inputs are: {', '.join(names) or 'none'}.",
            field=name,
        )


class RunHandle(Generic[R]):
    """A run that was started from Python."""

    def __init__(self, run_id: str, stack: Any, service: Any) -> None:
        self.id = run_id
        self._stack = stack
        self._service = service

    @property
    def status(self) -> str:
        """The run's state now."""
        return str(self._service.get_run(self._stack, self.id).status)

    def wait(self, timeout: float | None = None) -> str:
        """Wait until nothing runs for the run any more and return its state; RunTimeoutError after ``timeout`` s."""
        return str(self._service.wait(self._stack, self.id, timeout).status)

    def result(self, timeout: float | None = None) -> R:
        """Wait for the run and return the flow's value.

        Raises RunFailedError, RunStoppedError or RunTimeoutError; a local run raises what the flow raised.
        """
        self.wait(timeout)
        value: R = self._service.result(self._stack, self.id)
        return value

    def stop(self) -> None:
        """Ask the run to stop."""
        self._service.stop(self._stack, self.id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    stack: str | None = None,
    image: str | None = None,
    workers: int | None = None,
    retries: RetriesLike = None,
    **settings: Any,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    stack: str | None = None,
    image: str | None = None,
    workers: int | None = None,
    retries: RetriesLike = None,
    **settings: Any,
) -> Flow[P, R] | Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow: its runs are recorded, and a killed run goes on where it was.

    Args:
        function: sync or async. Between checkpoints it does the same whenever it runs: it is run again from the top,
            and recorded calls answer from the record.
        name: of the flow; default the function's own.
        stack: where its runs go unless somebody says otherwise.
        image: that runs it.
        workers: threads for submitted calls; default the machine's cores and four, 32 at most.
        retries: how often a body that raises runs again, in the same attempt: a count or ``Retries(…)``. What is
            recorded does not run again.
        settings: of the job, such as ``instance_type`` and ``max_runtime_in_seconds``.
    """
    if workers is not None and workers < 1:
        raise UsageError(
            "flow.bad_workers", f"workers={workers} is not a number of threads.", next_step="Give 1 or more."
        )
    options = FlowOptions(stack, image, settings, workers, retries_from(retries))
    if function is not None:
        return Flow(function, name=name, options=options)
    return lambda decorated: Flow(decorated, name=name, options=options)
