"""What ZenML calls the outputs of a step: by the annotation, or ``output``, ``output_0``, ``output_1``…"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from clary.kitaru.outputs import output_count

_names: dict[str, tuple[str, ...]] = {}
"""By the name of the step, for the steps that this process has declared."""


def declare(step: str, function: Callable[..., Any]) -> None:
    """Note what the outputs of a step are called."""
    _names[step] = _named(function)


def names_of(step: str) -> tuple[str, ...]:
    """Return what the outputs of a step are called; one that is declared elsewhere has a single ``output``."""
    return _names.get(step, ("output",))


def part_of(step: str, output: str) -> int | None:
    """Return which part of a step's value an output is, None for the whole; raises KeyError for no output of its."""
    names = names_of(step)
    if output not in names:
        raise KeyError(output)
    return names.index(output) if len(names) > 1 else None


def _named(function: Callable[..., Any]) -> tuple[str, ...]:
    count = output_count(function)
    try:
        annotated = typing.get_type_hints(function, include_extras=True).get("return")
    except Exception:  # noqa: BLE001 whatever an annotation that cannot be resolved raises: then it says nothing
        annotated = None
    if count == 1:
        return (_name_in(annotated) or "output",)
    members = typing.get_args(_bare(annotated))
    return tuple(_name_in(one) or f"output_{index}" for index, one in enumerate(members))


def _name_in(annotated: Any) -> str | None:
    return next((one for one in getattr(annotated, "__metadata__", ()) if isinstance(one, str)), None)


def _bare(annotated: Any) -> Any:
    return typing.get_args(annotated)[0] if hasattr(annotated, "__metadata__") else annotated
