"""``@flow``: the outer durable boundary. A call runs it here; ``.run()`` runs it on a stack."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from clary.engine.retry import NONE, Retries, RetriesLike, retries_from
from clary.engine.scope import current_scope
from clary.errors import UsageError, nearest
from clary.flows import outside
from clary.flows.declared import check_flow
from clary.flows.handles import RunHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from clary.image import Image

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

LONGEST_KEY = 200
"""Characters of a run's key."""
_SERVICE = "clary.agent.service"
"""The one door from the flow's rooms to those that submit. It is opened by name, when used: in a job it never is."""


@dataclass(frozen=True)
class FlowOptions:
    """What the decorator was told; None where it said nothing."""

    stack: str | None = None
    image: str | Image | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    workers: int | None = None
    retries: Retries | None = None
    cache: bool | None = None


@dataclass(frozen=True)
class CallOptions:
    """What was said for this run (``with_options``, the flags of ``clary run``); None where nothing was."""

    stack: str | None = None
    image: str | Image | None = None
    retries: dict[str, Any] | None = None
    """Fields of ``Retries`` that replace the decorator's."""
    cache: bool | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    key: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no key: UsageError ``flow.bad_option``."""
        key: Any = self.key
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= LONGEST_KEY):
            raise UsageError(
                "flow.bad_option",
                f"A key of a run is a text of 1 to {LONGEST_KEY} characters.",
                next_step="Give what tells this piece of work from others, such as the number of an order.",
                field="key",
            )


class Flow(Generic[P, R]):
    """A function whose run is durable."""

    def __init__(
        self, function: Callable[P, R], *, name: str | None, options: FlowOptions, call: CallOptions | None = None
    ) -> None:
        check_flow(function, name)
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.options = options
        self.call = call or CallOptions()
        """What was said for the runs of this object."""
        self.workers = options.workers
        self.retries = options.retries or NONE
        self.cache = bool(options.cache)
        """Whether checkpoints that say nothing of it take results of other runs."""

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The flow's parameters: its inputs."""
        return inspect.signature(self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the flow here, in this process, durably, and return its value. In another flow: the plain body."""
        if current_scope.get() is not None:
            return self.function(*args, **kwargs)
        return self._start(self._bound(args, kwargs), stack="local").result()

    def run(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run on the stack that applies (``clary stack current`` tells which) and return its handle.

        On the stack ``local`` the run is over when this returns.
        """
        return self._start(self._bound(args, kwargs), stack=self.call.stack)

    def replay(
        self,
        run: str,
        at: str,
        *,
        flow_overrides: Mapping[str, Any] | None = None,
        checkpoint_overrides: Mapping[str, Mapping[str, Any]] | None = None,
        invocation_overrides: Mapping[str, Mapping[str, Any]] | None = None,
        skip: Iterable[str] = (),
        tag: str | None = None,
        on_change: str | None = None,
    ) -> RunHandle[R]:
        """Start a new run that begins with a copy of the record of ``run``, up to the call ``at``; the rest runs.

        Args:
            run: id of a run of this flow, or the beginning of one.
            at: path of the call, such as ``train#2``, or ``train`` where there is but one call of it.
            flow_overrides: inputs of the flow that are to be others. Copied calls whose inputs change with them differ.
            checkpoint_overrides: for all calls of a checkpoint: ``{"fit": {"input": {"rate": 0.1}}}`` from the cut on,
                or ``{"score": {"output": 0.9}}``, also before it, whose body then does not run.
            invocation_overrides: the same for one call, by its path.
            skip: checkpoint names or paths from the cut on that keep the other run's result all the same.
            tag: a word for people.
            on_change: a copied call that is another now: ``error`` (the default), ``rerun`` it, ``accept`` its result.

        Raises NotFoundError ``run.not_found``, ``replay.no_such_call``; UsageError ``replay.ambiguous_call``,
        ``replay.before_cut``, ``replay.bad_override``, ``replay.no_such_input``, ``flow.unknown_input``; ConflictError
        ``replay.not_recorded_yet``, ``replay.no_result``.
        """
        service = self._service("replayed")
        stack, identifier = service.find_run(run)
        changes = service.Changes(
            flow_overrides or {}, checkpoint_overrides or {}, invocation_overrides or {}, tuple(skip)
        )
        target = service.target_of(self)
        view = service.replay(stack, identifier, at, changes, tag=tag, on_change=on_change, flow=target)
        return RunHandle(view.id, stack, service)

    def on(self, stack: str) -> Flow[P, R]:
        """Return this flow with another stack: ``digits.on("gpu").run(models=8)``."""
        return self.with_options(stack=stack)

    def with_options(
        self,
        *,
        stack: str | None = None,
        image: str | Image | None = None,
        retries: RetriesLike = None,
        cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Flow[P, R]:
        """Return this flow with options for its next runs; they outrank every other source, and the flow's inputs keep
        all names for themselves: ``train.with_options(image="…", settings={"instance_type": "ml.g5.xlarge"}).run(8)``.

        Args:
            stack: where the run goes.
            image: that runs it: a reference, or an ``Image``, which is made where it is not there.
            retries: of the flow's body: a count, or fields of ``Retries``; which exceptions is the decorator's to say.
            cache: whether checkpoints that say nothing of it take results of other runs.
            settings: of the job; objects such as ``tags`` are merged with those of other sources.
            key: the same key starts a run of this flow once on a stack: a second start gives the run that is there,
                whatever has become of it.

        Raises UsageError ``flow.bad_option``, ``retries.bad_value``, ``retries.out_of_range``.
        """
        given = CallOptions(stack, image, _fields(retries), cache, dict(settings or {}), key)
        return self.with_call(given)

    def with_call(self, given: CallOptions) -> Flow[P, R]:
        """Return this flow with what ``given`` says laid over what was said for its runs before."""
        before = self.call
        said = {one.name: getattr(given, one.name) for one in fields(given) if getattr(given, one.name) is not None}
        merged = replace(before, **{**said, "settings": {**before.settings, **given.settings}})
        return Flow(self.function, name=self.name, options=self.options, call=merged)

    def specified(self, options: Mapping[str, Any]) -> Flow[P, R]:
        """Return this flow with what its run's specification says of ``retries`` and ``cache``."""
        retries = self.options.retries or NONE
        if "retries" in options:
            retries = replace(retries, **options["retries"])
        decided = replace(self.options, retries=retries, cache=options.get("cache", self.options.cache))
        return Flow(self.function, name=self.name, options=decided, call=self.call)

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
        service = self._service("run")
        chosen = service.choose_stack(explicit=stack, flow=self.options.stack)
        view = service.start(service.target_of(self), inputs, chosen)
        return RunHandle(view.id, chosen, service, reused=view.reused)

    def _service(self, done: str) -> Any:
        service = outside.door(_SERVICE)
        if service is not None:
            return service
        raise UsageError(
            "flow.in_job",
            f"A job starts no runs, so the flow {self.name} cannot be {done} from it.",
            next_step=f'Start it outside, under if __name__ == "__main__"; in a flow, call {self.name}(…) itself.',
            field=self.name,
        )

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


class FlowDecorator(Protocol):
    """``@flow(…)``: a flow's value is what its body returns, or what awaiting it gives."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, V]], /) -> Flow[P, V]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(function: Callable[P, Coroutine[Any, Any, V]], /) -> Flow[P, V]: ...
@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    stack: str | None = None,
    image: str | Image | None = None,
    workers: int | None = None,
    retries: RetriesLike = None,
    cache: bool | None = None,
    **settings: Any,
) -> FlowDecorator: ...
def flow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    stack: str | None = None,
    image: str | Image | None = None,
    workers: int | None = None,
    retries: RetriesLike = None,
    cache: bool | None = None,
    **settings: Any,
) -> Any:
    """Make a function a flow: its runs are recorded, and a killed run goes on where it was.

    Args:
        function: sync or async. Between checkpoints it does the same whenever it runs: it is run again from the top,
            and recorded calls answer from the record.
        name: of the flow; default the function's own.
        stack: where its runs go unless somebody says otherwise.
        image: that runs it: a reference, or an ``Image``, which is made where it is not there.
        workers: threads for submitted calls; default the machine's cores and four, 32 at most.
        retries: how often a body that raises runs again, in the same attempt: a count or ``Retries(…)``. What is
            recorded does not run again.
        cache: whether checkpoints that say nothing of it take results of other runs; default no.
        settings: of the job, such as ``instance_type`` and ``max_runtime_in_seconds``.
    """
    _check_workers(workers)
    policy = None if retries is None else retries_from(retries)
    options = FlowOptions(stack, image, settings, workers, policy, cache)
    if function is not None:
        return Flow(function, name=name, options=options)
    return lambda decorated: Flow(decorated, name=name, options=options)


def _fields(retries: RetriesLike) -> dict[str, Any] | None:
    """Return the fields of a policy that can stand in a run's specification: all but its exceptions."""
    if retries is None:
        return None
    policy = retries_from(retries)
    if policy.on != (Exception,):
        raise UsageError(
            "flow.bad_option",
            "Which exceptions are worth another try is the decorator's to say, not a single run's.",
            next_step="Write @flow(retries=Retries(…, on=…)), and give the run a count.",
            field="retries.on",
        )
    if isinstance(retries, Retries):
        return {one.name: getattr(policy, one.name) for one in fields(policy) if one.name != "on"}
    return {"count": retries} if isinstance(retries, int) else dict(retries)


def _check_workers(workers: Any) -> None:
    if workers is None or (isinstance(workers, int) and workers is not True and workers >= 1):
        return
    raise UsageError(
        "flow.bad_workers",
        f"workers={workers!r} is not a number of threads.",
        next_step="Give 1 or more.",
        field="workers",
    )
