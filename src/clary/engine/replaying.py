"""A run that replays another: its record begins with a copy of the other's, and it may be told to differ from there.

``replay_of`` of its ``created`` record: ``run`` and ``at`` (the call at which it parts from that run), ``stack``,
``tag``, and ``overrides``: ``flow`` (names of inputs that are not the other run's), ``inputs`` and ``outputs`` (encoded
values by checkpoint name or call path), ``skip`` (calls that keep the other run's result whatever comes before them).

Copied calls have the origin ``replay``, skipped ones ``skip``; both name the run and the call they are from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.artifacts import decode
from clary.engine.extensions import ReadyMade
from clary.errors import UsageError

if TYPE_CHECKING:
    import inspect

    from clary.engine.execution import Call, Execution
    from clary.journal.records import Record

REPLAY, SKIP, OVERRIDE = "replay", "skip", "override"
"""Origins of calls that a replay has not run."""


def install(execution: Execution) -> None:
    """Let an execution do what its run was told to do otherwise than the run that it replays, if it is a replay."""
    replay_of = execution.journal.state.replay_of
    if replay_of is None:
        return
    overrides = replay_of["overrides"]
    if overrides["outputs"]:
        execution.shortcuts.append(GivenOutputs(overrides["outputs"]))
    if overrides["inputs"]:
        execution.amend = GivenInputs(execution, overrides["inputs"])


def origin_of(record: Record) -> str | None:
    """Return the kind of origin of a recorded call; None for one whose body ran in this run."""
    kind: str | None = record.get("origin", {}).get("kind")
    return kind


class GivenOutputs:
    """The shortcut that answers calls with outputs that were given for them."""

    def __init__(self, outputs: Record) -> None:
        self._outputs = outputs

    def takes(self, call: Call) -> bool:
        """Tell whether an output was given for this call, or for its checkpoint."""
        return call.path in self._outputs or call.callee.name in self._outputs

    def find(self, call: Call) -> ReadyMade | None:
        """Return the output given for the call; that for one call outranks that for all of its checkpoint."""
        output = self._outputs.get(call.path) or self._outputs.get(call.callee.name)
        return None if output is None else ReadyMade(output, {"kind": OVERRIDE})

    def keep(self, call: Call, record: Record) -> None:
        """Do nothing: no call that is asked for here has run."""


class GivenInputs:
    """Puts inputs that were given for calls in the place of those that the flow gives."""

    def __init__(self, execution: Execution, inputs: Record) -> None:
        self._execution = execution
        self._inputs = inputs

    def __call__(self, path: str, name: str, bound: inspect.BoundArguments) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call that is made; what is copied from the other run was called as it was."""
        copied = origin_of(self._execution.recorded.get(path, {})) in (REPLAY, SKIP)
        given = {} if copied else {**self._inputs.get(name, {}), **self._inputs.get(path, {})}
        arguments = bound.arguments
        for parameter, value in given.items():
            if parameter not in arguments:
                raise UsageError(
                    "replay.no_such_input",
                    f"{path} has no input “{parameter}” any more, and the replay gives one.",
                    next_step=f"Its inputs are: {', '.join(arguments) or 'none'}. Replay the run with one of those.",
                    field=parameter,
                )
            arguments[parameter] = decode(value, self._execution.store)
        return bound.args, bound.kwargs
