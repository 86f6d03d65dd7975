"""Finding a checkpoint by the names of its function: the same in the flow's job and in the job of a call."""

from __future__ import annotations

import importlib
from typing import Any

from clary.artifacts import names
from clary.errors import UsageError
from clary.flows.checkpoint import Checkpoint


def find_checkpoint(module: str, qualname: str, name: str) -> Checkpoint[..., Any]:
    """Return the checkpoint ``name`` whose function is ``module:qualname``.

    Raises UsageError ``call.not_importable`` for one that another process could not find: made inside a function, or
    kept in no variable of its module.
    """
    try:
        found = names.find(module, qualname)
    except (ImportError, AttributeError):
        found = None
    if isinstance(found, Checkpoint) and found.name == name:
        return found
    try:
        candidates = list(vars(importlib.import_module(module)).values())
    except ImportError:
        candidates = []
    for one in candidates:
        if isinstance(one, Checkpoint) and one.name == name and one.function.__qualname__ == qualname:
            return one
    raise UsageError(
        "call.not_importable",
        f"The isolated checkpoint {name} ({module}.{qualname}) cannot be found by another job.",
        next_step="Define it at the top level of a module of the project, not inside a function.",
    )
