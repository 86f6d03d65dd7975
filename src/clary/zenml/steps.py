"""``@step``: a checkpoint whose call in a dynamic pipeline gives an artifact, and outside one the plain value."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar, overload

from clary.engine.scope import current_scope
from clary.flows.checkpoint import CheckpointOptions
from clary.flows.isolation import isolation_of
from clary.kitaru.checkpoints import CheckpointDefinition, options_of
from clary.zenml import outputs
from clary.zenml.options import refuse, refuse_options, retries_of
from clary.zenml.settings import job_settings, laid_over, plain_settings

P = ParamSpec("P")
R = TypeVar("R")

_CONFIGURED = ("enable_cache", "retry", "runtime", "settings", "merge")
"""Options that can be laid over those of the decorator."""


@dataclass(frozen=True)
class StepOptions:
    """What was said of a step, by the decorator and since; None is what nobody said."""

    enable_cache: bool | None = None
    retry: Any = None
    runtime: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain, as ``plain_settings`` gives them."""

    def of(self, name: str) -> CheckpointOptions:
        """Return what the checkpoint ``name`` makes of them."""
        image, resources = job_settings(self.settings)
        plain = options_of(name, retries_of(self.retry), None, None, self.enable_cache)
        runtime = getattr(self.runtime, "value", self.runtime) or "inline"
        isolation = isolation_of(name, runtime, resources or None, image, None, None)
        return CheckpointOptions(retries=plain.retries, cache=plain.cache, isolation=isolation)


class StepDefinition(CheckpointDefinition[P, R], Generic[P, R]):
    """A step."""

    def __init__(self, function: Callable[P, R], *, name: str | None, said: StepOptions) -> None:
        super().__init__(function, name=name, options=said.of(name or function.__name__))
        self._said = said
        outputs.declare(self.name, function)

    @property
    def entrypoint(self) -> Callable[P, R]:
        """The plain function."""
        return self.function

    def outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the plain function: a step that is called outside a pipeline."""
        return self.function(*args, **kwargs)

    def copy(self) -> StepDefinition[P, R]:
        """Return another step of the same function, name and options."""
        return copy.copy(self)

    def with_options(self, **options: Any) -> StepDefinition[P, R]:
        """Return a copy with options of ``@step`` laid over its own, as ``configure`` takes them."""
        refuse_options("with_options", {name: one for name, one in options.items() if name not in _CONFIGURED})
        return self.copy().configure(**options)

    def configure(
        self,
        *,
        enable_cache: bool | None = None,
        retry: Any = None,
        runtime: str | None = None,
        settings: Mapping[str, Any] | None = None,
        merge: bool = True,
        **others: Any,
    ) -> StepDefinition[P, R]:
        """Lay options over those of this step and return it.

        Args:
            enable_cache: as of ``@step``.
            retry: as of ``@step``.
            runtime: as of ``@step``; not in a pipeline's body.
            settings: as of ``@step``; not in a pipeline's body, whose jobs were checked before it began.
            merge: lay the settings over those there are; False takes them in their place.
            others: options that change nothing here, or are refused with what to do instead.

        Raises UsageError ``zenml.not_available``, ``zenml.bad_option``, ``zenml.bad_settings``, and as ``@step``.
        """
        refuse_options("configure", others)
        given = {"enable_cache": enable_cache, "retry": retry, "runtime": runtime}
        said = replace(self._said, **{name: value for name, value in given.items() if value is not None})
        if settings is not None:
            wanted = plain_settings(settings)
            said = replace(said, settings=laid_over(said.settings, wanted) if merge else wanted)
        if current_scope.get() is not None and (runtime is not None or settings is not None):
            refuse(
                f"{self.name}.with_options(settings=, runtime=) in a pipeline's body",
                "the jobs of steps are checked before it begins.",
                f'Make it at the top level of the module: large = step(name="large", …)({self.name}.entrypoint).',
            )
        self._said, self.options = said, said.of(self.name)
        self.retries, self.cache, self.isolation = self.options.retries, self.options.cache, self.options.isolation
        return self

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
        settings: ``{"orchestrator": {…}, "docker": {…}, "resources": {…}}`` of that job.
        others: options that change nothing here, or are refused with what to do instead.
    """
    refuse_options("@step", others)
    said = StepOptions(enable_cache, retry, runtime, plain_settings(settings))

    def decorated(given: Callable[P, R]) -> StepDefinition[P, R]:
        return StepDefinition(given, name=name, said=said)

    return decorated if _func is None else decorated(_func)
