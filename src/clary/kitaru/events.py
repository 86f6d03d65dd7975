"""Live events of a checkpoint: here they are lines in the execution's output, since no server streams them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clary.engine.scope import current_scope
from clary.flows import telling
from clary.kitaru.errors import KitaruUsageError


def publish(
    kind: str,
    payload: Mapping[str, Any] | None = None,
    *,
    message: str | None = None,
    correlation_id: str | None = None,
    index: int | None = None,
    flush: bool = False,  # noqa: ARG001 every line is
) -> None:
    """Tell of an event: a line in the execution's output."""
    more = {"id": correlation_id, "index": index, **(payload or {})}
    _tell(kind, message or "", {name: value for name, value in more.items() if value is not None})


def progress(
    message: str,
    *,
    percent: float | None = None,
    correlation_id: str | None = None,
    flush: bool = False,  # noqa: ARG001 every line is
    **fields: Any,
) -> None:
    """Tell how far a checkpoint is: beside the run where it is followed, and as a line of its output.

    Args:
        message: what goes on.
        percent: how much of it is done, from 0 to 1.
        correlation_id: told with the line.
        flush: without effect, each line is told at once.
        fields: told with the line.

    Raises KitaruUsageError ``kitaru.bad_percent``.
    """
    if percent is not None:
        percent = 100 * _part(percent)
        telling.progress(percent, 100, message)
    more = {name: value for name, value in {"id": correlation_id, **fields}.items() if value is not None}
    _tell("progress", f"{percent:g} % {message}" if percent is not None else message, more)


def _part(percent: Any) -> float:
    """Return a share of the whole as Kitaru takes it, from 0 to 1."""
    is_number = isinstance(percent, (int, float)) and not isinstance(percent, bool)
    if is_number and 0 <= percent <= 1:
        return float(percent)
    raise KitaruUsageError(
        "kitaru.bad_percent",
        f"percent={percent!r} is no part of a whole.",
        next_step="Give a number from 0 to 1, as in Kitaru: 0.5 is one half.",
        field="percent",
    )


def _tell(kind: str, message: str, more: Mapping[str, Any]) -> None:
    scope = current_scope.get()
    where = scope.path if scope is not None and scope.path else "flow"
    details = json.dumps(dict(more), default=repr, ensure_ascii=False) if more else ""
    print(" ".join(part for part in (f"[{where}] {kind}:", message, details) if part), flush=True)
