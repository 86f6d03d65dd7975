"""What code in a flow of Kitaru's shape asks, keeps and tells."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from clary.artifacts import decode
from clary.engine.scope import Scope, current_scope
from clary.flows import context, waiting
from clary.journal import records
from clary.journal.log import ObjectLog
from clary.journal.state import RunState, fold
from clary.kitaru import asking
from clary.kitaru.checkpoints import refuse
from clary.kitaru.errors import KitaruContextError, KitaruRuntimeError, KitaruUsageError, translated
from clary.kitaru.handles import value_of
from clary.kitaru.journaled import SAVED_MARK
from clary.kitaru.names import call_name

if TYPE_CHECKING:
    from clary.engine.execution import Execution
    from clary.journal.records import Record
    from clary.objects import ObjectStore

LINGER = 600
"""Seconds for which Kitaru keeps the process of a flow that waits."""
SAVE_TYPES = ("prompt", "response", "context", "input", "output", "blob")
_NO_NAME = "wait_condition"


def wait(
    *,
    schema: Any = None,
    name: str | None = None,
    question: str | None = None,
    timeout: int | None = None,
    metadata: dict[str, Any] | None = None,
) -> Any:
    """Wait for somebody's input and return it; only in the flow's own body.

    Args:
        schema: what the input is: bool, int, str, a pydantic model…; None takes any plain data.
        name: by which it is answered.
        question: for whoever answers.
        timeout: seconds for which the process stays in case the input comes soon; then the execution waits without
            one. Default 600. At a terminal, a local execution asks for the input there.
        metadata: plain data for whoever answers.

    Raises KitaruContextError ``wait.in_checkpoint``, KitaruUsageError ``wait.bad_type``; KitaruRuntimeError
    ``wait.aborted``.
    """
    scope = _scope("wait()")
    if scope.in_call:
        raise KitaruContextError(
            "wait.in_checkpoint",
            f"wait() was called in the checkpoint {scope.path}, whose body would run again from its beginning.",
            next_step="Call wait() in the flow's own body, before or after the checkpoint.",
        )
    linger = 0 if asking.is_asked_here(scope) else LINGER if timeout is None else timeout
    if linger:
        asking.tell(scope, name or _NO_NAME, question or "")
    with translated():
        return waiting.wait(name or _NO_NAME, schema, question=question or "", metadata=metadata, linger=linger)


def save(
    name: str,
    value: Any,
    *,
    type: str = "output",  # noqa: A002 Kitaru's word
    tags: list[str] | None = None,
) -> None:
    """Keep a value by name as an artifact of the execution; only in a checkpoint.

    Args:
        name: by which it is found; the last value of a name is the one that is listed.
        value: what is kept.
        type: ``prompt``, ``response``, ``context``, ``input``, ``output`` or ``blob``; told with the execution's facts.
        tags: likewise.
    """
    _checkpoint_scope("save()")
    kind = type.strip().lower()
    if kind not in SAVE_TYPES:
        raise KitaruUsageError(
            "kitaru.bad_option",
            f"type={type!r} is no type of a saved value.",
            next_step=f"It is one of: {', '.join(SAVE_TYPES)}.",
            field="type",
        )
    with translated():
        context.save(name, value)
        if kind != "output" or tags:
            context.log(**{f"{SAVED_MARK}{name}": {"type": kind, "tags": list(tags or ())}})


def load(exec_id: str, name: str) -> Any:
    """Return a value that an execution has saved by that name, or the output of its checkpoint of that name.

    Only in a checkpoint. Which value it was is recorded. Raises KitaruRuntimeError ``kitaru.no_such_value`` and
    ``kitaru.ambiguous_name``.
    """
    scope = _checkpoint_scope("load()")
    execution = scope.execution
    with translated():
        state, store = _record_of(execution, exec_id)
        kept = execution.recorded_value(f"~load:{name}", scope, lambda: _kept(state, name))
        return decode(kept, store)


def log(**kwargs: Any) -> None:
    """Note facts, as plain data: in a checkpoint about its call, in a flow's body about the execution."""
    _scope("log()")
    with translated():
        context.log(**{name: value_of(value) for name, value in kwargs.items()})


def llm(*_args: Any, **_kwargs: Any) -> str:
    """Not here: raises KitaruFeatureNotAvailableError."""
    refuse(
        "llm()",
        "Clary calls no models for you, and knows no prices and aliases of theirs.",
        "Call your provider's client in a checkpoint: its answer is recorded and not asked for again.",
    )


def current_execution_id() -> str | None:
    """Return the id of the execution that runs this code; None outside one."""
    scope = current_scope.get()
    return None if scope is None else scope.execution.run_id


def is_replay() -> bool:
    """Tell whether this execution replays another."""
    return _replay_of() is not None


@dataclass(frozen=True)
class ReplayRuntimeContext:
    """How this execution differs from the one that it replays. Code, models and tools are never replaced here."""

    at: str
    output_mocks: dict[str, Any] = field(default_factory=dict)
    code_overrides: dict[str, str] = field(default_factory=dict)
    model_overrides: dict[str, str] = field(default_factory=dict)
    input_overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    tool_overrides: dict[str, str] = field(default_factory=dict)
    llm_model: str | None = None
    llm_model_at: str | None = None

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), default=repr)


def get_replay_runtime_context() -> ReplayRuntimeContext | None:
    """Return how this execution differs from the one that it replays; None where it replays none."""
    scope, replay_of = current_scope.get(), _replay_of()
    if scope is None or replay_of is None:
        return None
    store, overrides = scope.execution.store, replay_of["overrides"]
    return ReplayRuntimeContext(
        at=replay_of["at"],
        output_mocks={name: decode(value, store) for name, value in overrides["outputs"].items()},
        input_overrides={
            call: {name: decode(value, store) for name, value in given.items()}
            for call, given in overrides["inputs"].items()
        },
    )


def _replay_of() -> Record | None:
    scope = current_scope.get()
    return None if scope is None else scope.execution.journal.state.replay_of


def _scope(what: str) -> Scope:
    with translated():
        return context.scope_of(what)


def _checkpoint_scope(what: str) -> Scope:
    scope = _scope(what)
    if not scope.in_call:
        raise KitaruContextError(
            "kitaru.outside_checkpoint",
            f"{what} works in a checkpoint only, as in Kitaru.",
            next_step=f"Call it in a checkpoint; clary.{what.removesuffix('()')} works in a flow's body as well.",
        )
    return scope


def _record_of(execution: Execution, run: str) -> tuple[RunState, ObjectStore]:
    if run == execution.run_id:
        return execution.journal.state, execution.store
    if isinstance(execution.journal.log, ObjectLog):
        state = fold(ObjectLog(execution.store, run).read())
        if state.status != "absent":
            return state, execution.store
        raise KitaruRuntimeError(
            "run.not_found",
            f"There is no execution {run} in this stack's artifact store.",
            next_step="Check the id; executions of other stacks cannot be read from here.",
            field="exec_id",
        )
    stack, found = importlib.import_module("clary.agent.service").find_run(run)
    place = importlib.import_module("clary.agent.place").place_of(stack)
    return place.read(found), place.store


def _kept(state: RunState, name: str) -> Record:
    if name in state.saved:
        saved: Record = state.saved[name]["value"]
        return saved
    done = [one for one in state.calls.values() if one["kind"] == records.CALL]
    calls = [one for one in done if name in (one["path"], call_name(one["path"]))]
    calls = calls or [one for one in done if name == one["name"]]
    if len(calls) == 1:
        output: Record = calls[0]["output"]
        return output
    if calls:
        raise KitaruRuntimeError(
            "kitaru.ambiguous_name",
            f"Execution {state.run} has {len(calls)} outputs of {name!r}.",
            next_step=f"Name one by its call: {_listed([call_name(one['path']) for one in calls])}.",
            field="name",
        )
    known = [*state.saved, *map(call_name, state.calls)]
    raise KitaruRuntimeError(
        "kitaru.no_such_value",
        f"Execution {state.run} has kept nothing by the name {name!r}.",
        next_step=f"It has: {_listed(known)}.",
        field="name",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) or "nothing yet"
