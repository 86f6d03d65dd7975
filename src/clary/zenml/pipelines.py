"""``@pipeline(dynamic=True)``: a flow whose call starts a run, and in whose body steps give artifacts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from clary.engine.scope import current_scope
from clary.errors import UsageError
from clary.flows import Flow, FlowOptions
from clary.flows.flow import CallOptions
from clary.kitaru.flows import FlowDefinition, service
from clary.zenml.options import job_settings, refuse, refuse_options

if TYPE_CHECKING:
    from clary.flows import RunHandle

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class StepRun:
    """One recorded call of a step."""

    name: str
    id: str
    status: str
    _stack: Any = field(repr=False)
    _run: str = field(repr=False)

    def load(self) -> Any:
        """Return its output."""
        from importlib import import_module

        return import_module("clary.agent.artifacts").get(self._stack, self._run, self.id, trust=True)

    @property
    def output(self) -> StepRun:
        """Its output: ``.output.load()``."""
        return self


class PipelineRun:
    """A run of a pipeline."""

    def __init__(self, run: RunHandle[Any], stack: Any) -> None:
        self.id = run.id
        self.name = run.id
        self._run = run
        self._stack = stack

    @property
    def status(self) -> str:
        """Its state now, in Clary's words."""
        return self._run.status

    @property
    def steps(self) -> dict[str, StepRun]:
        """The recorded calls, by ZenML's names: the second call of ``fit`` is ``fit_2``."""
        calls = service().get_run(self._stack, self.id).calls
        return {_name(one.path): StepRun(one.name, one.path, one.status, self._stack, self.id) for one in calls}

    def result(self) -> Any:
        """Wait for the run and return what the pipeline returns, with values in place of artifacts."""
        return self._run.result()

    def __repr__(self) -> str:
        return f"<run {self.id}>"


class PipelineDefinition(FlowDefinition[P, R], Generic[P, R]):
    """A dynamic pipeline."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Start a run on the current stack and return it; wait for its end unless the stack was made with --async.

        Raises what the run raises: on a local stack the step's own exception, else RunFailedError. A run that waits for
        an answer is returned.
        """
        if current_scope.get() is not None:
            refuse(
                "a pipeline in a pipeline",
                "one run has one body.",
                f"Call its function as part of this one: {self.name}.function.__wrapped__(…).",
            )
        stack = service().choose_stack(explicit=self.call.stack, flow=self.options.stack)
        run: RunHandle[Any] = Flow.run(self, *args, **kwargs)
        if stack.synchronous and run.wait() != "waiting":
            run.result()
        return PipelineRun(run, stack)

    def with_options(
        self,
        *,
        enable_cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> PipelineDefinition[P, R]:
        """Return the pipeline with options for its next runs."""
        refuse_options("with_options", others)
        image, job = job_settings(settings)
        return self.with_call(CallOptions(image=image, cache=enable_cache, settings=job))

    def with_call(self, given: CallOptions) -> PipelineDefinition[P, R]:
        """Return the pipeline with what ``given`` says laid over what was said for its runs before."""
        made = copy.copy(self)
        made.call = super().with_call(given).call
        return made

    def on(self, stack: str) -> PipelineDefinition[P, R]:
        """Return the pipeline with another stack."""
        return self.with_call(CallOptions(stack=stack))

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


@overload
def pipeline(_func: Callable[P, R], /) -> PipelineDefinition[P, R]: ...
@overload
def pipeline(
    *,
    dynamic: bool | None = None,
    name: str | None = None,
    enable_cache: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Callable[[Callable[P, R]], PipelineDefinition[P, R]]: ...
def pipeline(
    _func: Callable[P, R] | None = None,
    *,
    dynamic: bool | None = None,
    name: str | None = None,
    enable_cache: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Any:
    """Make a function a dynamic pipeline; ``dynamic=True`` has to be said.

    Args:
        _func: a sync function.
        dynamic: its body runs as it is written, in the run's job.
        name: of the pipeline; default the function's own.
        enable_cache: whether steps that say nothing of it take results of other runs. ZenML's default is yes.
        settings: ``{"orchestrator": {…}, "docker": {…}}`` of the run's job.
        others: options that change nothing here, or are refused with what to do instead.

    Raises UsageError ``zenml.static_pipeline``, ``zenml.not_available``, ``zenml.bad_option``, ``zenml.bad_settings``.
    """
    if not dynamic:
        raise UsageError(
            "zenml.static_pipeline",
            "A static pipeline, whose body is traced into a graph of steps, cannot run here yet.",
            next_step="Write @pipeline(dynamic=True): the body then runs as it is written, and steps give artifacts.",
            field="dynamic",
        )
    refuse_options("@pipeline", others)
    image, job = job_settings(settings)
    options = FlowOptions(None, image, job, cache=enable_cache)

    def decorated(given: Callable[P, R]) -> PipelineDefinition[P, R]:
        return PipelineDefinition(given, name=name, options=options)

    return decorated if _func is None else decorated(_func)


def _name(path: str) -> str:
    name, _, count = path.partition("#")
    return name if count == "1" else f"{name}_{count}" if count else path.partition("@")[2]
