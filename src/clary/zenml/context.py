"""What code in a step asks, keeps and tells, in ZenML's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from clary.artifacts import decode
from clary.engine.scope import current_scope
from clary.errors import NotFoundError, UsageError
from clary.flows import context, waiting
from clary.journal import records
from clary.kitaru.context import LINGER
from clary.kitaru.handles import value_of
from clary.kitaru.names import call_name
from clary.zenml import outputs
from clary.zenml.options import refuse

if TYPE_CHECKING:
    from clary.engine.execution import Execution
    from clary.engine.scope import Scope
    from clary.journal.records import Record


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

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        run = scope.execution.run_id
        self.pipeline_run = Named(run, run)
        self.step_name = call_name(scope.path)
        """ZenML's name of the call: ``fit``, ``fit_2``, ``map:fit:0``."""
        self.step_run = Named(scope.path, self.step_name)

    @property
    def pipeline(self) -> Named:
        """The pipeline that runs."""
        name = self._scope.execution.journal.state.flow
        return Named(name, name)

    @property
    def inputs(self) -> NoReturn:
        """Not here: raises UsageError ``zenml.not_available``."""
        refuse("get_step_context().inputs", "a step is given plain values.", "Use the parameters of its function.")

    @property
    def model(self) -> NoReturn:
        """Not here: raises UsageError ``zenml.not_available``."""
        refuse("get_step_context().model", "there is no registry of models.", "Keep it by save_artifact(model, name).")

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
    return StepContext(scope)


def log_metadata(metadata: Mapping[str, Any], **where: Any) -> None:
    """Note facts about this run, as plain data; those about other runs, models and artifacts are refused."""
    named = [name for name, value in where.items() if value not in (None, False)]
    if named:
        refuse(f"log_metadata({named[0]}=)", "facts belong to the run that notes them.", "Leave it out.")
    context.log(**{name: value_of(value) for name, value in metadata.items()})


def save_artifact(data: Any, name: str, **options: Any) -> SavedArtifact:
    """Keep a value by name with this run; raises UsageError ``zenml.outside_run``."""
    _only_plain("save_artifact", options)
    if current_scope.get() is None:
        raise UsageError(
            "zenml.outside_run",
            "save_artifact() works while a pipeline runs, and keeps the value with its run.",
            next_step="Call it in a step or in the pipeline's body.",
        )
    return SavedArtifact(name, context.save(name, value_of(data)))


def load_artifact(name_or_id: str, version: str | None = None) -> Any:
    """Return the value that this run has saved by that name, else the newest output of a step that is called so.

    Which value it was is recorded, so that a replay finds the same. Raises NotFoundError ``artifact.not_found``,
    UsageError ``zenml.outside_run``.
    """
    if version is not None:
        refuse("load_artifact(version=)", "a run keeps one value of a name.", "Leave it out.")
    scope = current_scope.get()
    if scope is None:
        raise UsageError(
            "zenml.outside_run",
            "load_artifact() works while a pipeline runs, and finds what its run has kept.",
            next_step=f"Outside, read it from the run: clary artifacts get RUN {name_or_id}; in Python "
            'run.steps["STEP"].outputs["NAME"][0].load().',
        )
    execution = scope.execution
    kept = execution.recorded_value(f"~load:{name_or_id}", scope, lambda: _kept(execution, name_or_id))
    if kept is None:
        state = execution.journal.state
        names = [*state.saved, *(one for call in state.calls.values() for one in outputs.names_of(call["name"]))]
        raise NotFoundError(
            "artifact.not_found",
            f"This run has neither saved nor returned anything by the name “{name_or_id}”.",
            next_step=f"It has: {', '.join(dict.fromkeys(names)) or 'nothing yet'}.",
            field="name",
        )
    if "part" not in kept:
        return decode(kept, execution.store)
    value = decode(kept["output"], execution.store)
    return value if kept["part"] is None else value[kept["part"]]


def _kept(execution: Execution, name: str) -> Record | None:
    """Return the saved value of that name, else the newest output of a step that is called so, and which part it is."""
    state = execution.journal.state
    if name in state.saved:
        saved: Record = state.saved[name]["value"]
        return saved
    for call in reversed(state.calls.values()):
        if call["kind"] == records.CALL and name in outputs.names_of(call["name"]):
            return {"output": call["output"], "part": outputs.part_of(call["name"], name)}
    return None


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
