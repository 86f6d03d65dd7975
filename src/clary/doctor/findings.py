"""What a check found: four outcomes, each with what a person needs to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from clary.errors import Retry

if TYPE_CHECKING:
    from clary.doctor.subject import Subject
    from clary.errors import ClaryError

Statement = Mapping[str, Any]
"""A statement of an IAM policy."""


class Status(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may work, but somebody should look at it."""
    FAILED = "failed"
    UNCHECKED = "unchecked"
    """It could not be looked at; that says nothing about the thing itself."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    status: Status
    summary: str
    fix: str | None = None
    """What to do, as a command or a sentence; a remark where the status is ok."""
    statements: Sequence[Statement] = ()
    """What to add to the policy that ``fix`` names."""
    permission: str | None = None
    """The IAM action whose absence kept the check from looking."""


def ok(summary: str, fix: str | None = None) -> Finding:
    """Return the finding of a check that is content; ``fix`` is a remark."""
    return Finding(Status.OK, summary, fix)


def warning(summary: str, fix: str | None = None, statements: Sequence[Statement] = ()) -> Finding:
    """Return the finding that somebody should look at this."""
    return Finding(Status.WARNING, summary, fix, _to_add(statements))


def failed(summary: str, fix: str | None, statements: Sequence[Statement] = ()) -> Finding:
    """Return the finding that this will not work."""
    return Finding(Status.FAILED, summary, fix, _to_add(statements))


def _to_add(statements: Sequence[Statement]) -> Sequence[Statement]:
    """Return statements without their Sid, which the policy that they are added to may hold already."""
    return [{key: value for key, value in statement.items() if key != "Sid"} for statement in statements]


def unchecked(reason: str, permission: str | None = None, fix: str | None = None) -> Finding:
    """Return the finding that this could not be looked at."""
    return Finding(Status.UNCHECKED, reason, fix, permission=permission)


def from_error(error: ClaryError) -> Finding:
    """Return what an error that ended a check says about the thing that was looked at.

    Not being allowed to look, and what may go by itself (no answer, throttling), say nothing about the thing.
    """
    if error.code == "aws.access_denied":
        statement = error.details.get("statement", {})
        permission = statement.get("Action") or error.details.get("action")
        return unchecked(error.summary, permission, error.next_step)
    if error.retry is Retry.LATER:
        return unchecked(error.summary, fix=error.next_step)
    statement = error.details.get("statement")
    return failed(error.summary, error.next_step, [statement] if statement else ())


@dataclass(frozen=True)
class Check:
    """One small look at one thing."""

    name: str
    """Stable, in words joined by hyphens, for ``-o json``."""
    title: str
    look: Callable[[Subject], Finding | None]
    """Returns None where the stack has no such thing."""
    permissions: Sequence[str] = ()
    """The IAM actions that it uses."""
    vital: bool = False
    """Whether nothing runs as long as this cannot even be looked at."""


@dataclass(frozen=True)
class Result:
    """A check and what it found."""

    check: Check
    finding: Finding
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, the form of ``-o json``."""
        finding = self.finding
        return {
            "name": self.check.name,
            "title": self.check.title,
            "status": str(finding.status),
            "summary": finding.summary,
            "fix": finding.fix,
            "statements": [dict(statement) for statement in finding.statements],
            "missing_permission": finding.permission,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Report:
    """All results of one examination, in the order of the checks."""

    stack: str
    results: Sequence[Result]
    counts: Mapping[Status, int] = field(init=False)

    def __post_init__(self) -> None:
        found = [result.finding.status for result in self.results]
        object.__setattr__(self, "counts", {status: found.count(status) for status in Status})

    @property
    def healthy(self) -> bool:
        """Whether nothing failed."""
        return self.counts[Status.FAILED] == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, the form of ``-o json``."""
        return {
            "stack": self.stack,
            "healthy": self.healthy,
            "counts": {str(status): number for status, number in self.counts.items()},
            "checks": [result.to_dict() for result in self.results],
        }
