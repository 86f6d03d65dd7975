"""``@step``: a checkpoint whose call in a dynamic pipeline gives an artifact, and outside one the plain value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, overload

from clary.flows.checkpoint import CheckpointOptions
from clary.flows.isolation import isolation_of
from clary.kitaru.checkpoints import CheckpointDefinition, options_of
from clary.zenml.options import job_settings, refuse_options, retries_of

P = ParamSpec("P")
R = TypeVar("R")


class StepDefinition(CheckpointDefinition[P, R], Generic[P, R]):
    """A step."""

    def outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the plain function: a step that is called outside a pipeline."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def step(_func: Callable[P, R], /) -> StepDefinition[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    enable_cache: bool | None = None,
    retry: Any = None,
    runtime: str | None = None,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Callable[[Callable[P, R]], StepDefinition[P, R]]: ...
def step(
    _func: Callable[P, R] | None = None,
    *,
    name: str | None = None,
    enable_cache: bool | None = None,
    retry: Any = None,
    runtime: str | None = None,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Any:
    """Make a function a step of dynamic pipelines.

    Args:
        _func: a sync function.
        name: of the step; default the function's own.
        enable_cache: whether a call takes the result of another run. ZenML's default is yes; here it is what the
            pipeline says, and no where nobody says anything.
        retry: ``StepRetryConfig``.
        runtime: ``"inline"`` runs it in the pipeline's job, ``"isolated"`` each call in a job of its own.
        settings: ``{"orchestrator": {…}, "docker": {…}}`` of that job.
        others: options that change nothing here, or are refused with what to do instead.
    """
    refuse_options("@step", others)
    image, resources = job_settings(settings)

    def decorated(given: Callable[P, R]) -> StepDefinition[P, R]:
        plain = options_of(name or given.__name__, retries_of(retry), None, None, enable_cache)
        isolation = isolation_of(
            name or given.__name__, getattr(runtime, "value", runtime) or "inline", resources or None, image, None, None
        )
        options = CheckpointOptions(retries=plain.retries, cache=plain.cache, isolation=isolation)
        return StepDefinition(given, name=name, options=options)

    return decorated if _func is None else decorated(_func)
