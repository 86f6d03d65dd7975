"""``@pipeline(dynamic=True)``: a flow whose call starts a run, and in whose body steps give artifacts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from clary.engine.scope import current_scope
from clary.errors import UsageError
from clary.flows import Flow, FlowOptions
from clary.flows.flow import CallOptions
from clary.kitaru.flows import FlowDefinition, service
from clary.zenml.missing import PIPELINE_METHODS, PIPELINE_OPTIONS
from clary.zenml.options import refuse, refuse_options
from clary.zenml.runs import PipelineRun
from clary.zenml.settings import job_settings

if TYPE_CHECKING:
    from clary.flows import RunHandle

P = ParamSpec("P")
R = TypeVar("R")

_CONFIGURED = ("enable_cache", "settings", "merge")
"""Options that can be laid over those of the decorator."""


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
                f"Run its steps as part of this one: {self.name}.embed(…).",
            )
        stack = service().choose_stack(explicit=self.call.stack, flow=self.options.stack)
        run: RunHandle[Any] = Flow.run(self, *args, **kwargs)
        if stack.synchronous and run.wait() != "waiting":
            run.result()
        return PipelineRun(run, stack)

    @property
    def entrypoint(self) -> Callable[P, R]:
        """The plain function."""
        plain: Callable[P, R] = self.function.__wrapped__  # type: ignore[attr-defined]  # the body wraps it
        return plain

    def embed(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the steps as part of the pipeline whose body calls this, and return what the function returns."""
        scope = current_scope.get()
        if scope is None or scope.in_call:
            refuse(
                f"{self.name}.embed() outside the body of another pipeline",
                "there is no run that its steps could be part of.",
                f"Start it by itself: {self.name}(…).",
            )
        return self.entrypoint(*args, **kwargs)

    def copy(self) -> PipelineDefinition[P, R]:
        """Return another pipeline of the same function, name and options."""
        return copy.copy(self)

    def with_options(self, **options: Any) -> PipelineDefinition[P, R]:
        """Return a copy with options for its next runs, as ``configure`` takes them."""
        refuse_options(
            "with_options",
            {name: one for name, one in options.items() if name not in _CONFIGURED},
            more=PIPELINE_OPTIONS,
        )
        return self.copy().configure(**options)

    def configure(
        self,
        *,
        enable_cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        merge: bool = True,
        **others: Any,
    ) -> PipelineDefinition[P, R]:
        """Lay options over those of this pipeline and return it.

        Args:
            enable_cache: as of ``@pipeline``.
            settings: as of ``@pipeline``.
            merge: lay the settings over those there are; False takes them in their place.
            others: options that change nothing here, or are refused with what to do instead.

        Raises UsageError ``zenml.not_available``, ``zenml.bad_option``, ``zenml.bad_settings``.
        """
        refuse_options("configure", others, more=PIPELINE_OPTIONS)
        image, job = job_settings(settings)
        if settings is not None and not merge:
            self.options = replace(self.options, image=None, settings={})
            self.call = replace(self.call, image=None, settings={})
        self.call = self.with_call(CallOptions(image=image, cache=enable_cache, settings=job)).call
        return self

    def with_call(self, given: CallOptions) -> PipelineDefinition[P, R]:
        """Return the pipeline with what ``given`` says laid over what was said for its runs before."""
        made = copy.copy(self)
        made.call = super().with_call(given).call
        return made

    def on(self, stack: str) -> PipelineDefinition[P, R]:
        """Return the pipeline with another stack."""
        return self.with_call(CallOptions(stack=stack))

    def replay(self, *_args: Any, **_options: Any) -> NoReturn:
        """Not here: raises UsageError ``zenml.not_available``."""
        refuse(f"{self.name}.replay()", *PIPELINE_METHODS["replay"])

    def deploy(self, *_args: Any, **_options: Any) -> NoReturn:
        """Not here: raises UsageError ``zenml.not_available``."""
        refuse(f"{self.name}.deploy()", *PIPELINE_METHODS["deploy"])

    def __getattr__(self, name: str) -> Any:
        if name in PIPELINE_METHODS:
            refuse(f"a pipeline's {name}()", *PIPELINE_METHODS[name])
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

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
        settings: ``{"orchestrator": {…}, "docker": {…}, "resources": {…}}`` of the run's job.
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
    refuse_options("@pipeline", others, more=PIPELINE_OPTIONS)
    image, job = job_settings(settings)
    options = FlowOptions(None, image, job, cache=enable_cache)

    def decorated(given: Callable[P, R]) -> PipelineDefinition[P, R]:
        return PipelineDefinition(given, name=name, options=options)

    return decorated if _func is None else decorated(_func)
