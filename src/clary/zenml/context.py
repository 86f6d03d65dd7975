"""What code in a step asks, keeps and tells, in ZenML's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clary.errors import UsageError
from clary.flows import context, waiting
from clary.kitaru.context import LINGER
from clary.kitaru.handles import value_of
from clary.zenml.options import refuse


@dataclass(frozen=True)
class Named:
    """Something with an id and a name."""

    id: str
    name: str


@dataclass(frozen=True)
class SavedArtifact:
    """A value that was kept by name."""

    name: str
    uri: str


class StepContext:
    """Where a step's code runs."""

    def __init__(self, run: str, path: str) -> None:
        self.pipeline_run = Named(run, run)
        self.step_run = Named(path, path)
        self.step_name = path.rpartition("/")[2].partition("#")[0].partition("@")[0]

    def add_output_metadata(self, metadata: Mapping[str, Any], output_name: str | None = None) -> None:  # noqa: ARG002
        """Note facts about the run."""
        log_metadata(metadata)


def get_step_context() -> StepContext:
    """Return where this code runs; raises UsageError ``zenml.outside_step`` outside a step of a run."""
    scope = context.scope_of("get_step_context()")
    if not scope.in_call:
        raise UsageError(
            "zenml.outside_step",
            "get_step_context() works in a step only.",
            next_step="Call it in the step's body; clary.current_run() tells of the run anywhere.",
        )
    return StepContext(scope.execution.run_id, scope.path)


def log_metadata(metadata: Mapping[str, Any], **where: Any) -> None:
    """Note facts about this run, as plain data; those about other runs, models and artifacts are refused."""
    named = [name for name, value in where.items() if value not in (None, False)]
    if named:
        refuse(f"log_metadata({named[0]}=)", "facts belong to the run that notes them.", "Leave it out.")
    context.log(**{name: value_of(value) for name, value in metadata.items()})


def save_artifact(data: Any, name: str, **options: Any) -> SavedArtifact:
    """Keep a value by name with this run."""
    _only_plain("save_artifact", options)
    return SavedArtifact(name, context.save(name, value_of(data)))


def load_artifact(name_or_id: str, version: str | None = None) -> Any:
    """Return the value that this run has kept by that name."""
    if version is not None:
        refuse("load_artifact(version=)", "a run keeps one value of a name.", "Leave it out.")
    return context.load(name_or_id)


def wait(
    schema: Any = None,
    *,
    timeout: int = LINGER,
    question: str | None = None,
    metadata: dict[str, Any] | None = None,
    name: str | None = None,
    after: Any = None,
    **options: Any,
) -> Any:
    """Wait for somebody's input and return it; only in the pipeline's body.

    Args:
        schema: what the input is: bool, int, str, a pydantic model…; None takes any plain data.
        timeout: seconds for which the process stays in case the input comes soon.
        question: for whoever answers.
        metadata: plain data for whoever answers.
        name: by which it is answered.
        after: steps that have to have ended before.
        options: ``poll_interval`` and ``type``, which change nothing.
    """
    _only_plain("wait", {key: value for key, value in options.items() if key not in ("poll_interval", "type")})
    value_of([] if after is None else after)
    return waiting.wait(name or "wait_condition", schema, question=question or "", metadata=metadata, linger=timeout)


def _only_plain(what: str, options: Mapping[str, Any]) -> None:
    from clary.errors import nearest

    allowed = ("extract_metadata", "include_visualizations", "has_custom_name", "save_type")
    for name, value in options.items():
        if value is None or name in allowed:
            continue
        known = ("tags", "version", "artifact_type", "materializer", "user_metadata", "uri", "artifact_store")
        if name in known:
            refuse(f"{what}({name}=)", "a value is kept by its name and type.", "Leave it out, or call log_metadata().")
        meant = nearest(name, known)
        raise UsageError(
            "zenml.bad_option",
            f"{what}() has no option {name!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else "Leave it out.",
            field=name,
        )
