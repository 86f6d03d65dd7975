"""What a call's arguments are compared by, and whether its body has left them as they were."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from clary.artifacts import mark_of
from clary.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clary.engine.execution import Call

Marks: TypeAlias = "Mapping[int, str | None]"
NONE: Marks = MappingProxyType({})
_UNCHANGING = frozenset({type(None), bool, int, float, complex, str, bytes})
_WATCHED_ARRAY = 1 << 20
"""Bytes up to which an array argument is looked at again after the call."""


def marks_of(shared: Iterable[Any]) -> Marks:
    """Return what objects are compared by, by their ids, for many calls with these very objects."""
    return {id(value): mark_of(value) for value in shared}


def marked(bound: Mapping[str, Any], marks: Marks) -> dict[str, str | None]:
    """Return what arguments are compared by, by parameter name; ``marks`` has those that are known."""
    return {name: marks[id(value)] if id(value) in marks else mark_of(value) for name, value in bound.items()}


def refuse_changed(call: Call) -> None:
    """Refuse a body that has changed its arguments, as far as that can be seen: SerializationError."""
    for name, value in call.bound.items():
        before = call.inputs[name]
        if before is None or type(value) in _UNCHANGING or getattr(value, "nbytes", 0) > _WATCHED_ARRAY:
            continue
        if mark_of(value) != before:
            raise SerializationError(
                "call.argument_changed",
                f"The argument “{name}” of {call.path} was changed while the call ran, by its body or by the flow; a "
                "replayed call would not see that.",
                next_step="In the body, change a copy and return it; in the flow, submit a copy, such as list(…).",
                field=name,
            )
