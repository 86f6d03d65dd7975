"""A further attempt after the platform has ended one: no machines, an interruption, a fault of SageMaker's own.

What the flow itself raises is tried again inside its job (``engine.attempt``); this is for jobs that are gone. The
policy is the flow's ``retries``. Whoever is awake and looks at the run begins the attempt when its time has come.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clary.agent.specs import read_spec
from clary.engine.retry import Retries
from clary.errors import Retry
from clary.journal import records

if TYPE_CHECKING:
    from clary.agent.place import Place
    from clary.journal.records import Record
    from clary.journal.state import Attempt, RunState
    from clary.sagemaker.failures import Failure

_CAUSES = frozenset({"capacity", "interrupted", "internal"})
"""Causes that say nothing against the flow, its image or its settings."""
_FIELDS = ("count", "delay", "backoff", "max_delay", "jitter")


def after(place: Place, state: RunState, attempt: Attempt, failure: Failure) -> list[Record]:
    """Return what lets the run go on by itself after its latest attempt has ended so; nothing where it does not.

    A run that was asked to stop, and one whose next attempt is arranged already, is left alone.
    """
    passing = failure.cause in _CAUSES and failure.retry is not Retry.NO
    if not passing or state.stop_requested or attempt is not state.attempt or state.reserved(attempt.number):
        return []
    policy = _policy(place, attempt)
    number = state.platform_retries + 1
    if number > policy.count:
        return []
    return [records.suspended([], time.time() + policy.pause(number), number)]


def _policy(place: Place, attempt: Attempt) -> Retries:
    spec = read_spec(place.store, attempt.spec["digest"]) or {}
    said = spec.get("options", {}).get("retries") or {}
    return Retries(**{name: said[name] for name in _FIELDS if name in said}) if said else Retries(0)
