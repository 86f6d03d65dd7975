"""``kitaru.replay``: what ``replay()`` returns."""

from __future__ import annotations

from clary.kitaru.replays import (
    ReplayFailureRow,
    ReplayPlanDocument,
    ReplayResultRow,
    ReplaySkippedRow,
    ReplaySubmission,
    ReplaySummary,
)

__all__ = [
    "ReplayFailureRow",
    "ReplayPlanDocument",
    "ReplayResultRow",
    "ReplaySkippedRow",
    "ReplaySubmission",
    "ReplaySummary",
]
