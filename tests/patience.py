"""Waiting in tests for what other threads, processes and jobs do: a busy machine may need long, a quiet one no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that any wait of a test has, unless the test says otherwise: half of what the test itself has."""
_PACE = 0.02


def until(look: Callable[[], T | None], what: str = "a condition", *, seconds: float = PATIENCE) -> T:
    """Return what ``look`` gives as soon as that is true; fail the test, naming ``what``, after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= deadline:
            pytest.fail(f"waited {seconds:g} s in vain for {what}")
        time.sleep(_PACE)
    return found
