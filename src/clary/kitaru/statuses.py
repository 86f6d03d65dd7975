"""The five states of an execution in Kitaru's words, from Clary's."""

from __future__ import annotations

from enum import StrEnum


class ExecutionStatus(StrEnum):
    """Of an execution, or of one of its checkpoints."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more comes."""
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)

    @property
    def is_successful(self) -> bool:
        """Whether it completed."""
        return self is ExecutionStatus.COMPLETED


_OURS = {
    "completed": ExecutionStatus.COMPLETED,
    "waiting": ExecutionStatus.WAITING,
    "stopped": ExecutionStatus.CANCELLED,
    **dict.fromkeys(("failed", "timed_out", "interrupted", "lost"), ExecutionStatus.FAILED),
}


def status_of(status: str) -> ExecutionStatus:
    """Return Kitaru's word for a state of a run; whatever is under way is ``running``."""
    return _OURS.get(status, ExecutionStatus.RUNNING)
