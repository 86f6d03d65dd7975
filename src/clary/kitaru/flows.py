"""``@flow`` in Kitaru's shape: a direct call is refused, ``.run()`` gives a ``FlowHandle``."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from clary.engine.retry import retries_from
from clary.engine.scope import current_scope
from clary.errors import ClaryError, RunTimeoutError
from clary.flows import Flow, FlowOptions, RunHandle
from clary.flows.declared import check_flow
from clary.kitaru import asking
from clary.kitaru.checkpoints import refuse
from clary.kitaru.errors import (
    KitaruContextError,
    KitaruFeatureNotAvailableError,
    KitaruStateError,
    KitaruTimeoutError,
    KitaruUsageError,
    execution_error,
    translated,
)
from clary.kitaru.handles import FlowBody, current_body, value_of
from clary.kitaru.images import ImageInput, image_of
from clary.kitaru.statuses import ExecutionStatus, status_of

if TYPE_CHECKING:
    from clary.kitaru.replays import ReplaySubmission

P = ParamSpec("P")
R = TypeVar("R")

_DEPLOY = "Start it with .run() or `clary run`; queues, which start flows for others, come with Clary's server."


class FlowDefinition(Flow[P, R], Generic[P, R]):
    """A flow in whose body checkpoints give handles."""

    def __init__(self, function: Callable[P, R], *, name: str | None = None, options: FlowOptions) -> None:
        if inspect.iscoroutinefunction(function):
            raise KitaruFeatureNotAvailableError(
                "kitaru.no_async",
                f"{function.__name__} is async; Kitaru 0.21 knows no async checkpoints and flows.",
                next_step="Decorate it with clary.flow, in which calls give values and are awaited.",
            )
        with translated():
            check_flow(function, name)
            super().__init__(_with_handles(function), name=name, options=options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: ARG002 it is refused whatever they are
        """Refuse a direct call, as Kitaru does: raises KitaruUsageError ``kitaru.direct_call``."""
        raise KitaruUsageError(
            "kitaru.direct_call",
            f"{self.name}(…) is not how a flow of Kitaru's shape is started.",
            next_step=f"Write {self.name}.run(…).wait(). A flow of clary.flow may be called, and returns its value.",
        )

    def run(  # type: ignore[override]  # Kitaru's options stand among the flow's inputs
        self,
        *args: Any,
        stack: str | None = None,
        image: ImageInput | None = None,
        cache: bool | None = None,
        retries: int | None = None,
        **kwargs: Any,
    ) -> FlowHandle:
        """Start an execution on the stack that applies and return its handle.

        Args:
            args: inputs of the flow.
            stack: where it runs.
            image: that runs it; a reference, or ``ImageSettings``.
            cache: whether checkpoints that say nothing of it take results of other executions.
            retries: of the flow's body.
            kwargs: inputs of the flow.

        Raises KitaruUsageError for inputs that do not fit, KitaruContextError in a flow, KitaruBackendError.
        """
        if current_scope.get() is not None:
            raise KitaruContextError(
                "kitaru.run_in_flow",
                f"{self.name}.run() was called in a flow, whose job starts no executions.",
                next_step="Call the flow's function as part of this one, or start both from outside.",
            )
        reference, settings = image_of(image)
        with translated():
            chosen = self.with_options(stack=stack, image=reference, cache=cache, retries=retries, settings=settings)
            started = chosen.run(*args, **kwargs)
            asking.ask(started.id, chosen)
            return FlowHandle(started)

    def replay(  # type: ignore[override]  # several executions, and another result
        self,
        execution: str | Sequence[str],
        *,
        at: str,
        flow_overrides: Mapping[str, Any] | None = None,
        checkpoint_overrides: Mapping[str, Any] | None = None,
        invocation_overrides: Mapping[str, Any] | None = None,
        skip: Sequence[str] | None = None,
        tag: str | None = None,
        wait: bool | None = None,
        on_error: Literal["collect", "fail"] | None = None,
        stack: str | None = None,
        image: ImageInput | None = None,
        cache: bool | None = None,
        retries: int | None = None,
    ) -> ReplaySubmission:
        """Start new executions that begin with the record of others, up to the call ``at``; the rest runs.

        Args:
            execution: id of one execution of this flow, or several.
            at: the call at which they part, by its path (``train#2``) or in Kitaru's words (``train_2``).
            flow_overrides: inputs of the flow that are to be others.
            checkpoint_overrides: ``{"fit": {"input": {…}}}`` or ``{"fit": {"output": …}}``, for all calls. An output
                replaces that of calls before ``at`` as well; calls that are given it then run again.
            invocation_overrides: the same for one call.
            skip: calls behind the cut that keep the other's result.
            tag: a word for people.
            wait: wait for the ends; the default does for a single execution.
            on_error: ``collect`` failures, or ``fail`` at the first one; the default fails for a single execution.
            stack: None: a replay runs where the other execution lies.
            image: None: as configured.
            cache: None: as configured.
            retries: None: as configured.
        """
        from clary.kitaru import replays

        given = {"stack": stack, "image": image, "cache": cache, "retries": retries}
        for option, value in given.items():
            if value is not None:
                refuse(f"replay({option}=)", "a replay takes it as a run would.", f"Set it with configure({option}=…).")
        changes = replays.Wanted(at, flow_overrides, checkpoint_overrides, invocation_overrides, skip, tag)
        return replays.submit(execution, changes, wait=wait, on_error=on_error, flow=self)

    def deploy(self, *_args: Any, **_kwargs: Any) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("flow.deploy()", "a deployment is started by a server, and Clary has none yet.", _DEPLOY)

    def invoke(self, *_args: Any, **_kwargs: Any) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("flow.invoke()", "there are no deployments without a server.", _DEPLOY)

    def deployments(self) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("flow.deployments()", "there are no deployments without a server.", _DEPLOY)

    def deployment(self, *_args: Any, **_kwargs: Any) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("flow.deployment()", "there are no deployments without a server.", _DEPLOY)


class FlowHandle:
    """An execution that was started from Python."""

    def __init__(self, run: RunHandle[Any]) -> None:
        self._run = run

    @property
    def exec_id(self) -> str:
        """Its id; it stays the same through crashes, retries and resumes."""
        return self._run.id

    @property
    def status(self) -> ExecutionStatus:
        """Its state now, in Kitaru's words."""
        with translated():
            return status_of(self._run.status)

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end and return what the flow returns, with values in place of handles.

        Raises KitaruTimeoutError after ``timeout`` seconds; KitaruStateError when it waits for input; and
        KitaruExecutionError: KitaruUserCodeError with the flow's own exception as ``__cause__``, KitaruDivergenceError;
        KitaruUsageError ``kitaru.bad_option``.
        """
        if timeout is not None and not 0 < timeout < math.inf:
            raise KitaruUsageError(
                "kitaru.bad_option",
                f"timeout={timeout!r} is no time to wait.",
                next_step="Give seconds, more than 0; .status tells without waiting.",
                field="timeout",
            )
        started = time.monotonic()
        try:
            status = status_of(self._run.wait(timeout))
        except RunTimeoutError as error:
            elapsed = time.monotonic() - started
            shown = {"run": self.exec_id, "timeout": timeout, "elapsed": elapsed, "status": str(self.status)}
            raise KitaruTimeoutError(error.code, error.summary, next_step=error.next_step, details=shown) from error
        if status is ExecutionStatus.WAITING:
            raise self._waits()
        return self._result(status)

    def get(self) -> Any:
        """Return what the flow returned; raises KitaruStateError for an execution that has not ended."""
        status = self.status
        if status is ExecutionStatus.WAITING:
            raise self._waits()
        if not status.is_finished:
            raise KitaruStateError(
                "kitaru.not_finished",
                f"Execution {self.exec_id} is {status}.",
                next_step="Wait for it with .wait().",
                details={"run": self.exec_id},
            )
        return self._result(status)

    def _result(self, status: ExecutionStatus) -> Any:
        if status.is_successful:
            with translated():
                return self._run.result()
        try:
            return self._run.result()
        except ClaryError as error:
            raise execution_error(error, self.exec_id, status) from (error.__cause__ or error)
        except Exception as error:
            raise _user_code_error(error, self.exec_id, status) from error

    def _waits(self) -> KitaruStateError:
        return KitaruStateError(
            "kitaru.waits_for_input",
            f"Execution {self.exec_id} waits for input, and has no result before.",
            next_step=f"Answer with `clary runs answer {self.exec_id} VALUE`, or "
            f"KitaruClient().executions.input({self.exec_id!r}, wait=NAME, value=…).",
            details={"run": self.exec_id},
        )

    def __repr__(self) -> str:
        return f"<execution {self.exec_id}>"


def _user_code_error(error: Exception, run: str, status: ExecutionStatus) -> ClaryError:
    """Return the error of a local execution whose flow raised what is no error of Clary's."""
    from clary.errors import RunFailedError

    told = RunFailedError(
        "run.failed",
        f"{type(error).__name__}: {error}",
        next_step=f"Mend the code, then go on with `clary runs resume {run}`. Recorded checkpoints do not run again.",
        details={"cause": "user_code"},
    )
    return execution_error(told, run, status)


def _with_handles(function: Callable[P, R]) -> Callable[P, R]:
    """Return the body as the engine is to run it: handles in it, values out of it, and nothing left over."""

    @functools.wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> R:
        now = FlowBody()
        token = current_body.set(now)
        try:
            result: R = value_of(function(*args, **kwargs))
            now.finish()
        finally:
            now.over = True
            current_body.reset(token)
        return result

    return body


@overload
def flow(func: Callable[P, R], /) -> FlowDefinition[P, R]: ...
@overload
def flow(
    *,
    stack: str | None = None,
    image: ImageInput | None = None,
    cache: bool | None = None,
    retries: int | None = None,
) -> Callable[[Callable[P, R]], FlowDefinition[P, R]]: ...
def flow(
    func: Callable[P, R] | None = None,
    *,
    stack: str | None = None,
    image: ImageInput | None = None,
    cache: bool | None = None,
    retries: int | None = None,
) -> Any:
    """Make a function a flow, in the shape of Kitaru 0.21.

    Args:
        func: a sync function.
        stack: where its executions go unless somebody says otherwise.
        image: that runs it; a reference, or ``ImageSettings``.
        cache: whether checkpoints that say nothing of it take results of other executions. Kitaru's default was yes,
            Clary's is no.
        retries: how often a body that raises runs again; what is recorded does not.
    """
    reference, settings = image_of(image)
    with translated():
        policy = None if retries is None else retries_from(retries)
    options = FlowOptions(stack, reference, settings, retries=policy, cache=cache)

    def decorated(given: Callable[P, R]) -> FlowDefinition[P, R]:
        return FlowDefinition(given, options=options)

    return decorated if func is None else decorated(func)


def service() -> Any:
    """Return the door to runs; it is opened by name, when used: in a job it never is."""
    return importlib.import_module("clary.agent.service")
